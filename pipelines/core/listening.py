"""How a shop listens to its reviews, `listen` in conf/shops/NAME.yaml: how far back, when it raises an alarm, what it sums up."""

from typing import Final

from pydantic import Field

from pipelines.core.settings import Settings

TASK: Final = "sentiment"  # whose champion, where there is one, says how positive a clause is
RECENT_NIGHTS: Final = 7  # newest nights of the window: a surge may have begun in them, those before are what is usual


class Listen(Settings):
    """The nightly reading of reviews; see pipelines/listen.py."""

    window_nights: int = Field(
        35, ge=2 * RECENT_NIGHTS, le=365, description="reviews read, the night included: what is usual, and summed up"
    )
    false_alarms_per_month: float = Field(
        1.0, gt=0, le=30, description="alerts that 30 nights without any surge may bring, over all topics together"
    )
    topics: int = Field(4, ge=0, le=20, description="topics found in the shop's own words beside the known aspects")
    least_reviews: int = Field(3, ge=1, description="of an item in one language, from which they are summed up")
    sentences: int = Field(3, ge=1, le=10, description="for, and as many against, that a summary holds at most")
    precision: float = Field(0.9, gt=0.5, lt=1, description="how often a guessed attribute is to be right, at least")
    seed: int = 20260301
