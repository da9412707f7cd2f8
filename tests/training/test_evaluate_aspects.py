"""The judgement of aspects: on two sets small enough to write here, and on the real ones where they are."""

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from pipelines.core.config import PROJECT
from pipelines.core.errors import NoDataError
from training.evaluate_aspects import CHINESE, ENGLISH, SEEDS, WHOLE, read_set, run

REAL = PROJECT.parent / "shared" / "data"


def chinese(folder: Path) -> Path:
    """Ninety reviews; an empty one and a byte-order mark are left out of the count."""
    lines = ["cat,label,review", "x,1,"]
    for at in range(45):
        lines += [f"x,1,\ufeff质量很好 物流快{at}", f"x,0,质量差 物流太慢{at}"]
    with zipfile.ZipFile(folder / CHINESE[0], "w") as archive:
        archive.writestr("set.csv", "\ufeff" + "\n".join(lines))
    (folder / "peers").mkdir()
    (folder / "peers" / CHINESE[1]).write_text(json.dumps({"train": list(range(60)), "test": list(range(60, 90))}))
    return folder


def test_opinions_that_say_what_the_label_says_are_judged_right(tmp_path: Path) -> None:
    found = run(chinese(tmp_path))
    assert (found["name"], found["data"], found["rows"]) == ("aspects", CHINESE[0], {"fit": 60, "judged": 30})
    assert found["metrics"]["opinion_auc"]["value"] == 1.0
    assert found["metrics"]["aspect_share"]["value"] == 1.0
    assert set(found["baselines"]) == set(found["paired"]) == {SEEDS, WHOLE}
    assert {"quality", "delivery"} <= set(found["mentions"])
    assert set(found["metrics"]) == set(found["docs"])


def test_english_rows_without_any_text_are_left_out_and_the_title_is_read_too(tmp_path: Path) -> None:
    rows = ["Title,Review Text,Recommended IND", ",,", "Great,,1", ",Itchy and late,0"]
    (tmp_path / ENGLISH[0]).write_bytes(gzip.compress("\n".join(rows).encode()))
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / ENGLISH[1]).write_text(json.dumps({"train": [0], "test": [1]}))
    told = read_set(tmp_path)
    assert (told.texts, told.label.tolist()) == (["Great", "Itchy and late"], [1, 0])


def test_a_folder_without_a_set_or_with_another_split_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"neither online_shopping_10_cats\.zip nor Womens"):
        read_set(tmp_path)
    chinese(tmp_path)
    (tmp_path / "peers" / CHINESE[1]).write_text(json.dumps({"train": [0], "test": [90]}))
    with pytest.raises(NoDataError, match="numbers row 90, there are 90"):
        read_set(tmp_path)


@pytest.mark.skipif(not (REAL / "reviews-zh").is_dir(), reason="no ../shared/data/reviews-zh here")
def test_the_real_sets_are_read_as_their_peers_split_them() -> None:
    told = read_set(REAL / "reviews-zh")
    assert (len(told.texts), len(told.fit), len(told.judged)) == (62_773, 12_000, 4_000)
    told = read_set(REAL / "reviews-en")
    assert (len(told.texts), len(told.fit), len(told.judged)) == (10_159, 8_127, 2_032)
