"""Fits and scores the effect model for the closed loop, one request after the other, so that libraries are loaded once.

    python -m training.answer_loop SPEC.json     # {"shop", "threads"}; started by pipelines/closed_loop/evaluate.py

A line of JSON on standard input asks, one on standard output answers:
    {"fit": NAME, "root", "train": [nights], "valid": [nights]}   {"seconds"}
    {"score": NAME, "root", "night", "version"}                   {"rows"}: strategy_scores of the night lie in the store
    anything that fails                                           {"error": why}
"""

import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.shop import Shop
from pipelines.core.storage import Store
from pipelines.strategy.candidates import candidates
from training.predict import SCHEMA, TABLE, score_blocks
from training.task import Fitting
from training.tasks.effect import TASK, EffectModel, profiles_of


class Answers:
    """The models of one course of events, by name."""

    def __init__(self, shop: Shop, threads: int) -> None:
        self.shop, self.threads = shop, threads
        self.models: dict[str, EffectModel] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        store = Store(Path(request["root"]), self.shop.shop)
        if "fit" in request:
            began = time.perf_counter()
            train, valid = (
                TASK.examples(self.shop, store, tuple(date.fromisoformat(text) for text in request[part]))
                for part in ("train", "valid")
            )
            how = Fitting(threads=self.threads, settings=self.shop.models.settings.get(TASK.name, {}))
            self.models[request["fit"]] = TASK.fit(train, valid, how)
            return {"seconds": time.perf_counter() - began}
        return {"rows": self._score(store, date.fromisoformat(request["night"]), request["score"], request["version"])}

    def _score(self, store: Store, night: date, name: str, version: str) -> int:
        strategies = sorted(candidates(self.shop.strategy), key=lambda candidate: candidate.strategy_id)
        profiles = profiles_of(self.shop, store, night).to_batches()
        rows = pa.Table.from_batches(
            score_blocks(self.models[name], strategies, f"{self.shop.shop}-effect", version, profiles), schema=SCHEMA
        )
        folder = store.partition(TABLE, night)
        folder.mkdir(parents=True)
        pq.write_table(rows, folder / "part-00000.parquet")
        return len(rows)


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    answers = Answers(Shop.model_validate(spec["shop"]), int(spec["threads"]))
    out, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        try:
            answer = answers.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
