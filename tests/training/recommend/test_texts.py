"""What an item says: nothing told is nothing said, and a night encodes only what is new."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from pipelines.core.columns import Columns as C
from training import encode
from training.recommend.texts import embed, encoder_for, items_of, levels
from training.weights import ENCODER_EN, ENCODER_MULTILINGUAL

SHELF = pa.table(
    {
        C.ITEM_ID: ["a", "b", "c"],
        C.TITLE: ["Red  shirt", None, "蓝色 衬衫"],
        C.BRAND: ["Acme", None, None],
        C.CATEGORY_PATH: ["Clothing, Shoes > Shirts", None, "kids.shirts"],
        C.ATTRIBUTES: ['{"color": "Red", "size": "M", "list_price": 12.5}', None, "no json"],
        C.PRICE_CENTS: [1_250, None, 0],
    }
)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that go through an encoder."""
    found: list[str] = []
    before = encode.Encoder.encode

    def spy(self: encode.Encoder, texts: list[str], kind: Literal["query", "passage"] = "query") -> np.ndarray:
        found.extend(texts)
        return before(self, texts, kind)

    monkeypatch.setattr(encode.Encoder, "encode", spy)
    return found


def test_an_item_is_its_title_brand_and_attributes_and_a_price_is_no_word_of_it() -> None:
    items = items_of(SHELF)
    assert items.texts == ("Red shirt. Acme. Red M", "", "蓝色 衬衫. no json")
    assert items.paths == (("Clothing, Shoes", "Shirts"), (), ("kids", "shirts"))
    assert items.brands.tolist() == ["acme", "", ""]
    assert items.colours.tolist() == ["red", "", ""]
    assert items.prices[0] == 1_250
    assert np.isnan(items.prices[1:]).all()


def test_a_catalogue_of_ids_alone_and_an_empty_one_say_nothing() -> None:
    assert items_of(SHELF.select([C.ITEM_ID])).texts == ("", "", "")
    assert len(items_of(SHELF.slice(0, 0))) == 0


def test_a_category_path_is_split_at_the_widest_separator_that_it_has() -> None:
    assert levels("T.V. > 4K/8K") == ("T.V.", "4K/8K")
    assert levels("a/b.c") == ("a", "b.c")
    assert levels("") == ()


def test_taken_items_keep_all_their_parts() -> None:
    one = items_of(SHELF).take(np.array([False, False, True]))
    assert (one.ids.tolist(), one.titles, one.paths) == (["c"], ("蓝色 衬衫",), (("kids", "shirts"),))


def test_some_chinese_titles_ask_for_the_multilingual_encoder() -> None:
    assert encoder_for(["red shirt", "écharpe élégante"]) == ENCODER_EN
    assert encoder_for(["red shirt", "蓝色衬衫"]) == ENCODER_MULTILINGUAL
    assert encoder_for([]) == ENCODER_EN


def test_a_night_encodes_new_texts_only_and_a_text_that_says_nothing_never(
    tiny_encoder: Path, tmp_path: Path, encoded: list[str]
) -> None:
    kept = tmp_path / "vectors" / "items.safetensors"
    first = embed(["red shirt", "", "blue dress", "red shirt"], tiny_encoder, kept=kept)
    assert encoded == ["red shirt", "blue dress"]
    assert not first[1].any()
    assert np.array_equal(first[0], first[3])
    second = embed(["blue dress", "a good shirt"], tiny_encoder, kept=kept)
    assert encoded[2:] == ["a good shirt"]
    assert np.array_equal(second[0], first[2])
    embed(["red shirt"], tiny_encoder, kept=kept)  # was dropped when it was no longer sold
    assert encoded[3:] == ["red shirt"]


def test_vectors_of_other_weights_and_damaged_files_are_made_anew(
    tiny_encoder: Path, tmp_path: Path, encoded: list[str]
) -> None:
    kept = tmp_path / "items.safetensors"
    before = embed(["red shirt"], tiny_encoder, kept=kept)
    embed(["red shirt"], tiny_encoder, kept=kept, max_tokens=4)
    kept.write_bytes(kept.read_bytes()[:-7])
    assert np.array_equal(embed(["red shirt"], tiny_encoder, kept=kept), before)
    assert encoded == 3 * ["red shirt"]


def test_no_texts_are_no_vectors_of_the_encoder_s_width(tiny_encoder: Path) -> None:
    width = json.loads((tiny_encoder / "config.json").read_text())["hidden_size"]
    assert embed([], tiny_encoder).shape == (0, width)
