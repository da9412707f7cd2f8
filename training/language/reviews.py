"""Real shop reviews with a known opinion: Chinese (online_shopping_10_cats) and English (Women's Clothing).

told = read_reviews(Path("../shared/data/reviews-zh"))      # which of the two is found by the files there
told.told(told.train)                                       # texts and targets of the split's training rows
"""

import csv
import gzip
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.core.errors import NoDataError
from training.language.sentiment import Told

CHINESE, ENGLISH = "zh", "en"
CHINESE_FILE: Final = "online_shopping_10_cats.zip"
ENGLISH_FILE: Final = "Womens-Clothing-E-Commerce-Reviews_10528rows.csv.gz"
_BOM: Final = "\ufeff"


@dataclass(frozen=True)
class Reviews:
    """n reviews and a split of them."""

    tongue: str
    source: str
    texts: tuple[str, ...]
    targets: np.ndarray  # (n, 1): 0/1; in English (n, 2): recommended 0/1, stars from 0 (one) to 1 (five)
    kind: np.ndarray  # (n,) str, the kind of product
    train: np.ndarray  # (k,) rows
    judged: np.ndarray  # (m,) rows

    def told(self, where: np.ndarray) -> Told:
        """Those at positions (k,)."""
        return Told([self.texts[at] for at in where.tolist()], self.targets[where])


def read_reviews(folder: Path) -> Reviews:
    """The set that lies in a folder, with the split in its peers/. Raises NoDataError where there is none or it is damaged."""
    try:
        if (folder / CHINESE_FILE).is_file():
            return _chinese(folder)
        if (folder / ENGLISH_FILE).is_file():
            return _english(folder)
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise NoDataError(f"{folder}: damaged reviews ({type(error).__name__}: {error}); fetch them again") from error
    raise NoDataError(f"{folder}: no reviews; expected {CHINESE_FILE} or {ENGLISH_FILE}, as SOURCE.md describes them")


def _chinese(folder: Path) -> Reviews:
    with zipfile.ZipFile(folder / CHINESE_FILE) as packed:
        text = packed.read(packed.namelist()[0]).decode("utf-8").replace(_BOM, "")
    rows = [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["review"].strip()]
    targets = np.array([[float(row["label"])] for row in rows])
    texts = tuple(row["review"].strip() for row in rows)
    return Reviews(CHINESE, CHINESE_FILE, texts, targets, *_split(folder / "peers/split_16k.json", rows, "cat"))


def _english(folder: Path) -> Reviews:
    text = gzip.decompress((folder / ENGLISH_FILE).read_bytes()).decode("utf-8").replace(_BOM, "")
    rows, texts = [], []
    for row in csv.DictReader(io.StringIO(text, newline="")):
        told = re.sub(r"\s+", " ", f"{row['Title']} {row['Review Text']}").strip()
        if told:
            rows.append(row)
            texts.append(told)
    targets = np.array([[float(row["Recommended IND"]), (float(row["Rating"]) - 1) / 4] for row in rows])
    split = _split(folder / "peers/split_recommended.json", rows, "Department Name")
    return Reviews(ENGLISH, ENGLISH_FILE, tuple(texts), targets, *split)


def _split(path: Path, rows: list[dict[str, Any]], kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds of all rows, and which are for training and for judging."""
    split = json.loads(path.read_text())
    train, judged = (np.array(split[part], dtype=np.int64) for part in ("train", "test"))
    if len(np.intersect1d(train, judged)) or max(train.max(), judged.max()) >= len(rows):
        raise ValueError(f"{path.name} does not fit {len(rows)} reviews")
    return np.array([row[kind] for row in rows]), train, judged
