"""Limits of a plan that a shop may add to budget and capacities; part of its configuration's `strategy`."""

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from pipelines.core.settings import Settings


class Repeat(Settings):
    """Keeps a customer from getting the same thing again too soon: a hard limit, for lots as for scores."""

    same: Literal["strategy", "offer"]
    nights: int = Field(ge=1, le=90, description="within so many nights after a message, none with the same")
    offers: tuple[str, ...] = Field((), description="only these; all by default")


class Minimum(Settings):
    """What customers who prefer a brand or category get of a night at least; held to by the choices, not by the lots."""

    column: Literal["top_brand", "top_category_id"]
    value: str = Field(min_length=1)
    spend_cents: int | None = Field(None, ge=1, description="messages and expected discounts together")
    customers: int | None = Field(None, ge=1, description="customers who are sent anything")

    @model_validator(mode="after")
    def _one(self) -> "Minimum":
        if (self.spend_cents is None) == (self.customers is None):
            raise ValueError("a minimum gives either spend_cents or customers")
        return self


class FairShare(Settings):
    """Bounds how differently groups of customers are treated; held to by the choices, not by the lots."""

    column: Literal["segment_id", "price_band", "top_brand", "top_category_id"] = Field(
        "segment_id", description="what tells the groups apart"
    )
    within_points: float = Field(
        gt=0, le=100, description="percentage points between a group's share of customers written to and the shop's"
    )


class Pacing(Settings):
    """A budget for several nights. A night gets of what is left the part that it is worth of the nights left."""

    nights: int = Field(ge=2, le=92, description="length of a period")
    budget_cents: int = Field(ge=0, description="of a whole period; nightly_budget_cents goes on capping each night")
    first_night: date = Field(date(2024, 1, 1), description="a first night of a period; a Monday by default")


class Uncertainty(Settings):
    """What a choice goes by where scores tell their standard error."""

    rule: Literal["mean", "lower_bound", "thompson"] = Field(
        "mean", description="expected profit, its lower bound, or a draw of the night per strategy"
    )
    confidence_percent: float = Field(80, gt=50, lt=100, description="one-sided, of the lower bound")
