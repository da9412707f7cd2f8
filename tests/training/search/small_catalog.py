"""Twelve items that fit in the head, English and Chinese, and an encoder that knows a few meanings."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.core.columns import Columns as C

ROWS = (
    ("a1", "Red running shoes for women", "Shoes", "Lumo", '{"color": "red"}', 4_900, 3),
    ("a2", "Blue running shoes for men", "Shoes", "Lumo", '{"color": "blue"}', 5_500, 0),
    ("a3", "Red leather boots", "Shoes", "Hartwell", '{"color": "red"}', 12_900, 5),
    ("a4", "Brown belt with buckle", "Belts", "Hartwell", None, 2_900, 5),
    ("a5", "Brown belt without buckle", "Belts", "Lumo", None, 3_100, 5),
    ("a6", "Case for airpods 2", "Audio", "Peak", None, 1_500, 9),
    ("a7", "Airpods 2 wireless earphones", "Audio", "Peak", None, 15_900, 9),
    ("a8", "Desk lamp 128 cm, clear glass", "Lamps", "Peak", None, None, None),
    ("a9", "红色跑步鞋", "Shoes", "Lumo", '{"颜色": "红色"}', 5_100, 2),
    ("b1", "蓝色台灯", "Lamps", "Peak", None, 4_100, 2),
    ("b2", "", "Lamps", None, None, 900, 1),
    ("b3", "Water bottle", "Kitchen", "Peak", None, 900, 1),
)
MEANINGS = (
    ("shoe", "sneaker", "boots", "鞋"),
    ("lamp", "light", "灯"),
    ("belt",),
    ("airpods", "earphones"),
    ("bottle",),
)


def catalog(n: int = len(ROWS)) -> pa.Table:
    columns = list(zip(*ROWS[:n], strict=True)) or [()] * 7
    names = (C.ITEM_ID, C.TITLE, C.CATEGORY_PATH, C.BRAND, C.ATTRIBUTES, C.PRICE_CENTS, C.STOCK)
    kinds = (*[pa.string()] * 5, pa.int64(), pa.int64())
    told = {name: pa.array(column, kind) for name, column, kind in zip(names, columns, kinds, strict=True)}
    return pa.table({**told, C.DESCRIPTION: pa.array([f"All about {row[1]}" for row in ROWS[:n]], pa.string())})


class Meanings:
    """(n, 5) vectors: which meanings a text names; zeros where it names none."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [[float(any(word in text.lower() for word in words)) for words in MEANINGS] for text in texts]
        found = np.array(rows, np.float32).reshape(-1, len(MEANINGS))
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(length > 0, length, 1)
