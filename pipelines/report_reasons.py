"""The report's numbers about reasons: what the model goes by in tomorrow's plan, and what is said of many customers.

One customer's reasons are not on the page, which an erasure does not cut: `pipelines.explain.reasons_of` reads them.
"""

from datetime import date
from typing import Any, Final

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.reading import read
from pipelines.core.storage import Store
from pipelines.report_read import rows_by

WORDS: Final = {
    "answers": "answers to earlier messages, by channel",
    "hours": "hours of visits and of the message",
    "offer": "offer",
    "frequency": "one message or more",
    "style": "style of writing",
    "purchases": "purchases and order value",
    "prices": "prices looked at",
    "basket": "items put into the basket",
    "visits": "visits",
    "taste": "favourite category and brand",
    "contacts": "recent messages",
    "segment": "segment",
}
N_SAID: Final = 12
MIN_SAID: Final = 10  # what is said of fewer could be told of somebody
_FIRST, _LAST = 1, 3  # ranks of single factors


def reasons(night: date, store: Store) -> dict[str, Any]:
    """Per factor how often it is among a customer's three largest contributions and how large it is; what is said most."""
    table = read(store, "plan_reasons", [night], C.USER_KEY, C.RANK, C.FACTOR, C.TOLD, C.CONTRIBUTION_CENTS)
    if table is None or not len(table):
        return {"missing": "No model has scored what is sent tomorrow, so there is nothing to explain but the lot."}
    rank, factor = table[C.RANK].to_numpy(), table[C.FACTOR].to_numpy()
    cents = table[C.CONTRIBUTION_CENTS].to_numpy()
    first = np.flatnonzero(rank == 0)  # rows are sorted: a customer's reasons follow each other
    lift = np.add.reduceat(cents, first)
    n = len(first)
    shown = (rank >= _FIRST) & (rank <= _LAST)
    factors = [
        {
            "name": WORDS.get(name, name),
            "customers": int(mine.sum()),
            "mean_cents": round(float(cents[mine].mean()), 4),
            "size_cents": round(float(np.abs(cents[mine]).sum() / n), 4),
        }
        for name in sorted(set(factor[shown].tolist()))
        if (mine := shown & (factor == name)).any()
    ]
    said = rows_by(table.filter(shown), [C.FACTOR, C.TOLD], (C.USER_KEY, "count"), (C.CONTRIBUTION_CENTS, "mean"))
    often = sorted(
        (row for row in said if row[f"{C.USER_KEY}_count"] >= MIN_SAID), key=lambda row: -row[f"{C.USER_KEY}_count"]
    )
    return {
        "customers": n,
        "lift_cents": round(float(lift.mean()), 4),
        "usual_cents": round(float(cents[first].mean()), 4),
        "usual": table[C.TOLD][0].as_py(),
        "factors": sorted(factors, key=lambda row: (-row["size_cents"], row["name"])),
        "said": [
            {
                "told": row[C.TOLD],
                "customers": row[f"{C.USER_KEY}_count"],
                "mean_cents": round(row[f"{C.CONTRIBUTION_CENTS}_mean"], 4),
            }
            for row in often[:N_SAID]
        ],
    }
