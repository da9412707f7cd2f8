"""What a shop keeps of a price, by category: the plan pays discounts from it, and models of profit learn by it."""

from typing import Any

import numpy as np

from pipelines.core.columns import Columns as C


def margins_of(catalog: Any, category_ids: Any, default_percent: float) -> np.ndarray:
    """(n,) percent: margin of all items of each category of `category_ids` (n, null for none) together.

    `catalog`: CATEGORY_ID, PRICE_CENTS and UNIT_COST_CENTS, or None. Items without price or unit cost tell nothing; a
    category without any that do has the default margin.
    """
    import pyarrow.compute as pc

    margins = np.full(len(category_ids), float(default_percent))
    if catalog is None:
        return margins
    told = catalog.filter(pc.and_kleene(pc.is_valid(catalog[C.UNIT_COST_CENTS]), pc.greater(catalog[C.PRICE_CENTS], 0)))
    sums = told.group_by(C.CATEGORY_ID).aggregate([(C.PRICE_CENTS, "sum"), (C.UNIT_COST_CENTS, "sum")])
    price = sums[f"{C.PRICE_CENTS}_sum"].to_numpy()
    percent = 100 * (price - sums[f"{C.UNIT_COST_CENTS}_sum"].to_numpy()) / price
    where = pc.index_in(category_ids, value_set=sums[C.CATEGORY_ID], skip_nulls=True)
    margins[pc.is_valid(where).to_numpy()] = percent[where.drop_null().to_numpy()]
    return margins
