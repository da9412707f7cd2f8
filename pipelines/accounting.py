"""Line accounting: every line read is clean, a duplicate or quarantined, and the three add up to the lines read.

Pure functions of published manifests; the clean stage writes their counts, the command line and the report tell them.
"""

from dataclasses import asdict, dataclass
from datetime import date

from pipelines.core.errors import AccountingError, NoDataError
from pipelines.core.storage import Store


@dataclass(frozen=True)
class Lines:
    """Counts of lines, headers left out. Raises AccountingError if they do not add up."""

    lines_read: int
    clean: int
    duplicate: int
    quarantined: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def __post_init__(self) -> None:
        parts = (self.clean, self.duplicate, self.quarantined)
        if min(parts) < 0 or sum(parts) != self.lines_read:
            raise AccountingError(
                f"{self.lines_read} lines read, but {self.clean} clean + {self.duplicate} duplicate + "
                f"{self.quarantined} quarantined = {sum(parts)}; run the night again with --force"
            )


def of_arrival(store: Store, arrival: date) -> Lines:
    """All that arrived together, whatever night it tells of.

    Lines read are what the judging of the arrival counted; clean and duplicate are what its nights wrote. The two are
    counted apart, so that a line lost between them shows. Raises NoDataError where the arrival is not cleaned,
    AccountingError where the counts do not add up or a night that it tells of is not published.
    """
    judged = store.manifest("quarantine", arrival)
    if judged is None:
        raise NoDataError(f"shop {store.shop}, arrival {arrival}: not cleaned yet; run nightmarket night for that date")
    clean = lines = 0
    for night, n_good in sorted(judged.counts["nights"].items()):
        written = store.manifest("events", date.fromisoformat(night))
        n_lines = written.counts["lines"].get(arrival.isoformat(), 0) if written else 0
        if n_lines != n_good:
            raise AccountingError(
                f"arrival {arrival}: {n_good} good lines tell of night {night}, but events of that night were made of "
                f"{n_lines} of them; run nightmarket night for {night} again"
            )
        lines += n_lines
        clean += written.counts["kept"].get(arrival.isoformat(), 0) if written else 0
    quarantined = judged.counts["quarantined"]
    return Lines(quarantined + sum(judged.counts["nights"].values()), clean, lines - clean, quarantined)


def of_night(store: Store, night: date) -> Lines:
    """All good lines that tell of a night, whenever they arrived; none is quarantined, for a bad line has no night.

    Raises NoDataError without events, AccountingError where the counts do not add up.
    """
    parts = by_arrival(store, night).values()
    return Lines(sum(p.lines_read for p in parts), sum(p.clean for p in parts), sum(p.duplicate for p in parts), 0)


def by_arrival(store: Store, night: date) -> dict[date, Lines]:
    """The good lines that tell of a night, by arrival, in order; the earliest arrival that tells of an event keeps it.

    Raises NoDataError without events, AccountingError where the counts differ from the rows of the night.
    """
    written = store.manifest("events", night)
    if written is None:
        raise NoDataError(f"shop {store.shop}, night {night}: no events; run nightmarket night for that date")
    lines, kept = written.counts["lines"], written.counts["kept"]
    if sum(kept.values()) != written.rows:
        raise AccountingError(
            f"night {night}: {written.rows} rows, but {sum(kept.values())} of {sum(lines.values())} lines read were "
            "kept; run the night again with --force"
        )
    found = {arrival: (n, kept.get(arrival, 0)) for arrival, n in sorted(lines.items())}
    return {date.fromisoformat(arrival): Lines(n, clean, n - clean, 0) for arrival, (n, clean) in found.items()}


def late_lines(store: Store, arrival: date) -> int:
    """Good lines of a daily drop that tell of an earlier night than the one they arrived for."""
    judged = store.manifest("quarantine", arrival)
    nights = judged.counts["nights"] if judged else {}
    return sum(n for night, n in nights.items() if night < arrival.isoformat())
