"""How a shop's prices may be suggested, `pricing` in conf/shops/NAME.yaml: the guardrails, each with its unit and reason."""

from pydantic import Field, model_validator

from pipelines.core.settings import Settings


class Pricing(Settings):
    """Guardrails of the nightly price suggestions; see pipelines/strategy/pricing.py."""

    margin_floor_percent: float = Field(5, ge=-100, lt=100, description="margin that is left of a price, at least")
    max_step_percent: float = Field(5, gt=0, le=50, description="a night's largest change of a price, either way")
    parity_percent: float = Field(
        20,
        gt=0,
        lt=100,
        description="furthest from the list price (attribute list_price, else the median of four weeks), either way",
    )
    ending_cents: int = Field(9, ge=0, description="prices end so: 9 of every 10, or 99 of every 100 cents")
    ending_unit_cents: int = Field(10, ge=1, le=100_000)
    max_elasticity_sd: float = Field(
        0.8, gt=0, description="where the response is less well known than this, prices are kept"
    )
    min_confidence: float = Field(
        0.8, ge=0.5, lt=1, description="chance that a change earns more than it costs, at least"
    )
    explore_percent: float = Field(
        10, ge=0, le=100, description="items whose price is moved by lot, so that the response stays learnable"
    )
    explore_band_percent: float = Field(3, gt=0, le=50, description="how far such a lot moves a price, either way")
    seed: int = 20260301

    @model_validator(mode="after")
    def _fits(self) -> "Pricing":
        if self.ending_cents >= self.ending_unit_cents:
            raise ValueError("ending_cents is not below ending_unit_cents")
        if self.explore_band_percent > self.max_step_percent:
            raise ValueError("explore_band_percent is above max_step_percent")
        return self
