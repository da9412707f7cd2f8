"""The landing keeps erased customers out by the same place that the connectors read the customer from."""

import pytest

from pipelines.core.columns import Columns as C
from pipelines.keep_out import PLACES
from spark_jobs.events import load_format
from spark_jobs.session import Engine, F


@pytest.mark.parametrize("connector", PLACES)
def test_the_ledger_looks_for_the_customer_where_the_connector_does(engine: Engine, connector: str) -> None:
    form, place = load_format(connector), PLACES[connector]
    cells = {name: F.col(name) for name in form.names}
    columns = form.columns(cells)
    named = columns.get(C.USER_ID, columns.get(C.USER_KEY))
    if place is None:
        assert named is None
        return
    at = next(n for n, name in enumerate(form.names) if cells[name] is named)
    assert place.separator == (form.separator or "")
    if place.key:
        assert place.key == form.names[at]
    else:
        assert (place.column, place.n_columns) == (at, len(form.names))
