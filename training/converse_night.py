"""Reads the night's talks with the service desk.

    python -m training.converse_night SPEC.json

The spec is written by pipelines/converse.py: `shop`, `knowledge`, `root`, `night`, `out`; `model` {folder, name, version} of
the champion of task sentiment, its folder null where there is none. Rows go to <out>/conversations/part-00000.parquet, the
result {rows, counts} to <out>/result.json.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import WrongUseError
from pipelines.core.servicing import Knowledge
from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from training.job import run_job
from training.language.conversations import TABLE, conversations_of, counts_of, labelled, messages_tonight
from training.language.desk import reader_of
from training.language.dialogue import Sentiment
from training.table_files import write


def run(spec: dict[str, Any]) -> dict[str, Any]:
    """Writes the table of the night under spec["out"]. Raises WrongUseError where the shop has no desk."""
    shop, knowledge = Shop.model_validate(spec["shop"]), Knowledge.model_validate(spec["knowledge"])
    if shop.service is None:
        raise WrongUseError(f"shop {shop.shop}: no 'service' in its configuration; add it")
    store = Store(Path(spec["root"]), shop.shop)
    messages = messages_tonight(store, date.fromisoformat(spec["night"]), shop.service.window_nights)
    reader = reader_of(knowledge, shop.service, labelled(store, knowledge))
    found = conversations_of(messages, knowledge, reader, _sentiment(spec["model"]["folder"]), shop.service)
    write(Path(spec["out"]), TABLE, found)
    return {"rows": found.num_rows, "counts": counts_of(found)}


def _sentiment(folder: str | None) -> Sentiment | None:
    """What the champion says of messages."""
    if folder is None:
        return None
    from training.language.sentiment_files import load

    model = load(Path(folder))

    def positive(texts: Sequence[str]) -> np.ndarray:
        return model.predict(texts).positive

    return positive


if __name__ == "__main__":
    run_job(run)
