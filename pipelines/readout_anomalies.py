"""What was odd in what came back: counted by name, told in a sentence that says what is done about it, never dropped."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

# name -> what it means, with what is done about it.
ANOMALIES: Final = {
    "outcomes_twice": "answers were told twice; each counts once, by its outcome_id",
    "outcomes_late": "answers came on a later night than their message; they count for the night of the message",
    "outcomes_unmatched": "answers name no delivery told within the last {late} nights; they are not counted",
    "treated_without_delivery": "planned messages were never told as sent, bounced or skipped; their customers stay in their arm",
    "not_delivered": "planned messages bounced or were skipped; their customers stay in their arm",
    "unplanned_deliveries": "messages were delivered that the plan did not name; their customers stay in their arm",
    "holdout_contacted": "messages were delivered to customers of the holdout; they stay in it, so its difference is told too small",
    "holdout_recommended": "customer-nights of those held out from recommendations saw some; they stay held out, so what "
    "recommendations bring is told too small",
    "two_arms": "customers changed their arm; they stay in that of their first night",
    "propensity_missing": "customer-nights have no usable lot propensity; the comparisons by lot leave them out",
    "returns": "purchases have a negative price or quantity; they count as returns and lower the spend",
    "returns_quarantined": "lines with a negative price stand in the quarantine; no spend is lowered by them",
    "purchases_without_price": "purchases name no price; they count as purchases, not as spend",
}


@dataclass
class Anomalies:
    """How often each kind was met."""

    late_nights: int
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, n: int) -> None:
        self.counts[name] += n

    def told(self) -> list[dict[str, Any]]:
        """[{name, n, text}] of those that were met, in a fixed order."""
        return [
            {
                "name": name,
                "n": self.counts[name],
                "text": f"{self.counts[name]:,} {text.format(late=self.late_nights)}",
            }
            for name, text in ANOMALIES.items()
            if self.counts[name]
        ]
