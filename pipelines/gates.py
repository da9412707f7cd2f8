"""Gates on rates: may a night be published when each line is well-formed but together they look wrong?

Pure functions of counts; the caller raises AuditError with what they return. Rules on rows are in pipelines/audit.py.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from pipelines.core.shop import Gates


def gate(
    counts: Mapping[str, int], reference: Sequence[int], weekday_reference: Sequence[int], gates: Gates
) -> list[str]:
    """Breaches of a night, one line each; none: publish.

    counts: `lines_read`, `duplicate`, `quarantined` of what arrived and `clean`, `bots` of the night's events; whatever
    is missing is not judged. A share of nothing is 0.
    reference: clean events of the earlier nights of the window (volume_window_nights), any weekday, one number a night;
    weekday_reference: those of them that fall on tonight's weekday.
    """
    shares = [
        ("quarantined", "lines_read", gates.max_quarantine_share),
        ("duplicate", "lines_read", gates.max_duplicate_share),
        ("bots", "clean", gates.max_bot_share),
    ]
    breaches = []
    for part, whole, limit in shares:
        some, all_ = counts.get(part, 0), counts.get(whole, 0)
        if all_ and some > limit * all_:
            breaches.append(f"{part} share {some / all_:.1%} is above {limit:.1%}: {some:,} of {all_:,} {whole}")
    if "clean" in counts and (line := judge_volume(counts["clean"], reference, weekday_reference, gates)):
        breaches.append(line)
    return breaches


def judge_volume(volume: int, reference: Sequence[int], weekday_reference: Sequence[int], gates: Gates) -> str | None:
    """What is wrong with tonight's volume, or None.

    It is held against the median of the earlier nights, which one odd night cannot move. Out of bounds there, it still
    passes if it is within bounds of the median of the same weekday: a quiet Sunday is like other Sundays. With fewer
    than min_reference_nights earlier nights volume is not judged.
    """
    if len(reference) < gates.min_reference_nights:
        return None
    usual = median(reference)
    if _is_near(volume, usual, gates.max_volume_ratio):
        return None
    same_day = median(weekday_reference) if weekday_reference else None
    if same_day is not None and _is_near(volume, same_day, gates.max_volume_ratio):
        return None
    beside = f", {same_day:,.0f} on this weekday" if same_day is not None else ""
    return (
        f"volume {volume:,} clean events is not within {gates.max_volume_ratio:g} times of the usual {usual:,.0f} "
        f"(median of {len(reference)} nights{beside})"
    )


def _is_near(volume: int, usual: float, ratio: float) -> bool:
    if usual == 0 or volume == 0:
        return volume == usual
    return usual / ratio <= volume <= usual * ratio
