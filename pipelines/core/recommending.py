"""How a shop's recommendations are made, `recommend` in conf/shops/NAME.yaml: how many, what bounds them, who gets none."""

from typing import Final

from pydantic import Field

from pipelines.core.settings import Settings

CHANNEL: Final = "recommendation"  # of the impressions and clicks that tell what became of them
AGAIN: Final = "again"  # the reason of an item that is recommended for the customer's own earlier interest in it
FILE, SEGMENT_FILE = "recommendations.csv", "segment_recommendations.csv"  # of the plan's export


class Recommend(Settings):
    """The nightly recommendations; see pipelines/recommend.py."""

    k: int = Field(10, ge=1, le=100, description="items per customer, fewer only where the catalogue holds fewer")
    holdout_percent: float = Field(
        10,
        ge=0,
        le=50,
        description="customers without recommendations, by a stable hash of its own: what they show is read",
    )
    explore_percent: float = Field(
        5, ge=0, le=50, description="slots whose item is drawn by lot, so that what was shown stays comparable"
    )
    max_per_category: int = Field(4, ge=1, description="items of one category in a customer's list")
    min_stock: int = Field(1, ge=1, description="what a catalogue tells fewer of is not recommended")
    price_band_factor: float = Field(
        4, gt=1, description="furthest from the middle of what a customer looked at, times dearer or cheaper"
    )
    relations_per_item: int = Field(10, ge=1, le=100, description="items named as going with each item")
    bundle_discount_percent: float = Field(5, ge=0, lt=100, description="off two items that are offered together")
    seed: int = 20260301
