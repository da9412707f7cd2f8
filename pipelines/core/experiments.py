"""Experiments of a shop: arms that restrict what their customers may be sent, and what a read-out holds them to."""

from datetime import date

from pydantic import Field, model_validator

from pipelines.core.settings import Name, Settings

READ_OUT_ALWAYS = ("holdout", "message", "offers", "channels", "choice")  # comparisons that every plan allows


class Arm(Settings):
    """One arm of an experiment: what its customers may be sent. A field that is not given allows everything."""

    id: str = Name
    share: float = Field(1, gt=0, le=1_000_000, description="customers, beside the shares of the other arms")
    offers: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    send_windows: tuple[str, ...] = ()
    frequencies: tuple[int, ...] = ()
    creative_styles: tuple[str, ...] = ()


class Experiment(Settings):
    """Customers outside the holdout fall into arms by a stable hash; the first arm is what the others are held against."""

    id: str = Name
    first_night: date = Field(description="first plan that follows the arms")
    last_night: date | None = Field(None, description="last plan that follows the arms; goes on by default")
    arms: tuple[Arm, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _order(self) -> "Experiment":
        if self.id in READ_OUT_ALWAYS:
            raise ValueError(f"'{self.id}' is a comparison that is always read out; give the experiment another id")
        if self.last_night and self.first_night > self.last_night:
            raise ValueError("first_night is after last_night")
        ids = [arm.id for arm in self.arms]
        if len(ids) != len(set(ids)):
            raise ValueError(f"arms: ids are not unique: {ids}")
        return self

    def runs_on(self, night: date) -> bool:
        """Whether the plan of this night follows the arms."""
        return self.first_night <= night and (self.last_night is None or night <= self.last_night)


class Readout(Settings):
    """What an arm may cost, per 1,000 customers and nights, before it is called harmful whatever it earns."""

    max_more_complaints: float = Field(3, ge=0, description="more than the control; providers of mail act from 0.3% on")
    max_more_unsubscribes: float = Field(5, ge=0, description="more than the control")
    max_more_returns: float = Field(5, ge=0, description="more customers with a return than in the control")
