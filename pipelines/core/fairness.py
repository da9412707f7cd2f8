"""How a shop wants its groups of customers treated: `fairness_gate` in conf/shops/NAME.yaml."""

from pydantic import Field, field_validator

from pipelines.core.columns import Columns as C
from pipelines.core.settings import Settings
from pipelines.core.tables import BIGINT, DOUBLE, STRING, TABLES


class FairnessGate(Settings):
    """Gaps between groups of customers in what a plan gives to those it could reach. A bound that is crossed by more than
    chance stops the plan; without one the report tells the gap."""

    column: str = Field(
        "segment_name", description="segment_name or a column of user_profiles; numbers are cut at their median"
    )
    max_treated_gap: float | None = Field(None, ge=0, le=1, description="share of customers who are sent something")
    max_discount_percent_gap: float | None = Field(None, ge=0, description="mean discount, percentage points")
    max_cost_cents_gap: float | None = Field(None, ge=0, description="mean cost of messages")
    max_profit_cents_gap: float | None = Field(None, ge=0, description="mean profit expected of what is sent")

    @field_validator("column")
    @classmethod
    def _groups(cls, value: str) -> str:
        allowed = [
            C.SEGMENT_NAME,
            *(name for name, kind in TABLES["user_profiles"].columns.items() if kind in (STRING, BIGINT, DOUBLE)),
        ]
        allowed.remove(C.USER_KEY)
        if value not in allowed:
            raise ValueError(f"no column that customers can be grouped by; allowed are {', '.join(allowed)}")
        return value
