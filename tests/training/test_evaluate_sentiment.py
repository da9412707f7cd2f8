"""The judgement of sentiment on a small set of the same shape as the real ones, and what is read of the real ones."""

import csv
import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.config import PROJECT
from pipelines.core.errors import NoDataError
from tests.training.small_sentiment import reviews
from training.evaluate_sentiment import DOCS, OURS, run
from training.language.reviews import CHINESE_FILE, ENGLISH_FILE, read_reviews
from training.language.sentiment_encoder import Read, Reader

SHARED = PROJECT.parent / "shared" / "data"


def write_chinese(folder: Path, rows: list[tuple[str, int, str]], train: list[int], judged: list[int]) -> Path:
    (folder / "peers").mkdir(parents=True)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["cat", "label", "review"])
    writer.writerows(rows)
    with zipfile.ZipFile(folder / CHINESE_FILE, "w") as packed:
        packed.writestr("online_shopping_10_cats.csv", text.getvalue())
    (folder / "peers" / "split_16k.json").write_text(json.dumps({"train": train, "test": judged}))
    return folder


def test_rows_are_counted_without_marks_and_empty_reviews(tmp_path: Path) -> None:
    rows = [("book", 1, "\ufeff 好看 "), ("book", 0, " "), ("hotel", 0, "太吵"), ("hotel", 1, "good")]
    told = read_reviews(write_chinese(tmp_path / "reviews", rows, [1, 2], [0]))
    assert told.texts == ("好看", "太吵", "good")
    assert told.told(told.train).texts == ["太吵", "good"]
    assert told.told(told.judged).positive.tolist() == [1.0]
    assert told.kind.tolist() == ["book", "hotel", "hotel"]


def test_english_reviews_join_title_and_text_and_know_their_stars(tmp_path: Path) -> None:
    (tmp_path / "peers").mkdir()
    names = "ID,Title,Review Text,Rating,Recommended IND,Department Name"
    lines = [names, '0,,"Fits\r\n well",4,1,Tops', "1,Poor,,2,0,Tops", ",,,,,", "2,Ok, then,5,1,Dresses"]
    (tmp_path / ENGLISH_FILE).write_bytes(gzip.compress("\r\n".join(lines).encode()))
    (tmp_path / "peers" / "split_recommended.json").write_text(json.dumps({"train": [0, 1], "test": [2]}))
    told = read_reviews(tmp_path)
    assert told.texts == ("Fits well", "Poor", "Ok then")
    assert told.targets.tolist() == [[1.0, 0.75], [0.0, 0.25], [1.0, 1.0]]


def test_what_is_no_set_or_a_damaged_one_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=f"no reviews; expected {CHINESE_FILE} or"):
        read_reviews(tmp_path)
    (tmp_path / CHINESE_FILE).write_bytes(b"no zip")
    with pytest.raises(NoDataError, match="damaged reviews"):
        read_reviews(tmp_path)
    folder = write_chinese(tmp_path / "other", [("book", 1, "a"), ("book", 0, "b")], [0, 7], [1])
    with pytest.raises(NoDataError, match="does not fit 2 reviews"):
        read_reviews(folder)


def test_a_judgement_names_every_metric_pairs_every_peer_and_reads_no_review_twice(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = reviews(400, 0)
    rows = [("dress" if at % 3 else "shirt", int(good), text)
            for at, (text, good) in enumerate(zip(told.texts, told.positive, strict=True))]  # fmt: skip
    folder = write_chinese(tmp_path / "reviews-zh", rows, list(range(300)), list(range(300, 400)))
    settings = {"encoders": (f"path:{tiny_encoder}",), "tuned_layers": 1, "least_tuned_rows": 10,
                "ratio_strength": 3.0, "loop": {"max_steps": 4}}  # fmt: skip
    times: Counter[str] = Counter()
    read = Reader.read

    def counted(self: Reader, texts: Sequence[str], below: int = 0) -> Read:
        times.update(texts)
        return read(self, texts, below)

    monkeypatch.setattr(Reader, "read", counted)
    found = run(folder, 1, tmp_path / "weights", tmp_path / "kept", settings)
    train, judged = told.texts[:300], set(told.texts[300:])
    assert all(times[text] == train.count(text) for text in train if text not in judged)
    expected = set(DOCS) - {"other_language_accuracy"}  # no other set lies beside this one
    assert set(found["metrics"]) == expected
    assert found["rows"] == {"train": 270, "valid": 30, "judged": 100}
    assert {"tf-idf, characters", "the more frequent class", "words alone"} < set(found["baselines"])
    for metrics in found["paired"].values():
        assert set(metrics) >= {"accuracy", "macro_f1", "auc"}
    assert found["metrics"]["accuracy"]["value"] > 0.7
    assert found["metrics"]["accuracy"]["low"] <= found["metrics"]["accuracy"]["value"]
    assert found["baselines"]["the more frequent class"]["accuracy"]["value"] == pytest.approx(0.5)
    assert OURS not in found["baselines"]


@pytest.mark.parametrize(
    ("name", "train", "judged", "usual"),
    [("reviews-zh", 12_000, 4_000, 0.50525), ("reviews-en", 8_127, 2_032, 0.8194)],
)
def test_the_real_sets_are_those_that_the_peers_were_measured_on(
    name: str, train: int, judged: int, usual: float
) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not on this machine")
    told = read_reviews(SHARED / name)
    assert (len(told.train), len(told.judged)) == (train, judged)
    assert told.told(told.judged).positive.mean() == pytest.approx(usual, abs=5e-5)
    assert np.all([text.strip() for text in told.texts])
