"""Judges one part on one real data set, with the baselines beside it.

    nightmarket evaluate behaviour --data ../shared/data/taobao-userbehavior
    nightmarket evaluate hillstrom --data ../shared/data/hillstrom
    nightmarket evaluate value --data ../shared/data/cdnow
    nightmarket evaluate open-bandit --data ../shared/data/open-bandit
    nightmarket evaluate intents --data ../shared/data/bitext-intents
    nightmarket evaluate next-item --data ../shared/data/yoochoose-100k
    nightmarket evaluate recommend --data ../shared/data/taobao-userbehavior
    nightmarket evaluate search --data ../shared/data/esci-us
    nightmarket evaluate sentiment --data ../shared/data/reviews-zh
    nightmarket evaluate similar --data ../shared/data/esci-us
    nightmarket evaluate moderation --data conf/moderation
    nightmarket evaluate copy --data ../shared/data/advertisegen
    nightmarket evaluate attributes --data ../shared/data/esci-us
    nightmarket evaluate aspects --data ../shared/data/reviews-zh
    nightmarket evaluate few-labels --data ../shared/data/bitext-intents

The judgement itself is training/evaluate_NAME.py (a dash in NAME is an underscore there), started as a process. Nothing is
written but the result, kept under <root>/evaluations/NAME.json.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from pipelines.core.errors import WrongUseError
from pipelines.core.machine import Machine
from pipelines.core.storage import default_root
from pipelines.launch import launch

NAMES = {
    "aspects": "opinions per aspect against the label of the whole review, on Chinese or English reviews",
    "attributes": "brand and colour from a product's own words, on Amazon ESCI",
    "behaviour": "next behaviour on Taobao UserBehavior: days 1-7 fit, 8 chooses, 9 judges",
    "copy": "ad copy on AdvertiseGen's attributes, and a decoder tuned on ESCI's product texts beside templates",
    "few-labels": "what 50, 200 and 1,000 labels teach, and ways to make more of them, on reviews or messages",
    "hillstrom": "effects of two e-mails on visits and spend, Hillstrom's randomised trial: 20 half splits",
    "intents": "what customers want, few examples, noise and messages out of scope, on any CSV of texts and intents",
    "moderation": "420 bad and 360 good creatives in English and Chinese: held or not",
    "next-item": "next item of a session on YooChoose: all items ranked, HR and MRR at 5, 10, 20",
    "open-bandit": "off-policy evaluation on the Open Bandit data: Thompson's clicks from random logs",
    "recommend": "tomorrow's items and categories on Taobao UserBehavior: days 1-8 fit, 9 judges",
    "search": "products for a query on Amazon ESCI: ranked by folds of queries, clean and with typos",
    "sentiment": "good or bad news in shop reviews, Chinese or English: the split of the data's peers",
    "similar": "category from title, and products for the same query, on Amazon ESCI",
    "value": "customer lifetime value on CDNOW: 39 weeks fit, the next 39 judge",
}


def evaluate(name: str, data: Path, machine: Machine) -> dict[str, Any]:
    """The judgement as DESIGN.md shapes it. Raises WrongUseError, NoDataError for a folder without the data set."""
    if name not in NAMES:
        raise WrongUseError(f"nothing called '{name}' to evaluate: expected {', '.join(sorted(NAMES))}")
    if not data.is_dir():
        raise WrongUseError(f"--data {data}: no such folder; expected the one that holds the data set")
    root = default_root()
    kept = root / "evaluations"
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept, prefix=f".{name}-") as folder:
        result = launch(
            f"training.evaluate_{name.replace('-', '_')}",
            {"data": str(data.resolve()), "threads": machine.threads, "weights": str(root / "weights")},
            machine.without_spark,
            Path(folder),
            root / "logs",
        )
        text = Path(folder) / f"{name}.json"
        text.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
        text.replace(kept / f"{name}.json")
    return result
