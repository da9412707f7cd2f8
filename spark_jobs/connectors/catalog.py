"""Products as JSON lines; keys in docs/INPUT.md, section catalog."""

from pipelines.core.columns import Columns as C
from spark_jobs.parse import Format, cents, text_id, whole_number
from spark_jobs.session import F

FORMAT = Format(
    names=(
        "item_id", "title", "description", "category_id", "category_path", "brand", "price", "unit_cost", "stock",
        "language", "attributes",
    ),
    columns=lambda cells: {
        C.ITEM_ID: cells["item_id"],
        C.TITLE: cells["title"],
        C.DESCRIPTION: cells["description"],
        C.CATEGORY_ID: cells["category_id"],
        C.CATEGORY_PATH: cells["category_path"],
        C.BRAND: cells["brand"],
        C.PRICE_CENTS: cents(cells["price"]),
        C.UNIT_COST_CENTS: cents(cells["unit_cost"]),
        C.STOCK: whole_number(cells["stock"]),
        C.LANGUAGE: cells["language"],
        C.ATTRIBUTES: cells["attributes"],
    },
    price="price",
    objects=("attributes",),
    rules=lambda cells: [
        ("missing_item", cells["item_id"].isNull()),
        *text_id(cells["item_id"], "item_id"),
        ("missing_title", cells["title"].isNull()),
        ("bad_unit_cost", cells["unit_cost"].isNotNull() & ~F.coalesce(cents(cells["unit_cost"]) >= 0, F.lit(False))),
        ("bad_attributes", ~cells["attributes"].startswith("{")),
        ("bad_stock", cells["stock"].isNotNull() & whole_number(cells["stock"]).isNull()),
    ],
)  # fmt: skip
