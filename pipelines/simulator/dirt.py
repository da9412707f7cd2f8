"""What goes wrong between a shop and its files: duplicates, re-sent and late lines, lines that no reader can use.

Broken lines are extra lines with ids of their own: the truth beneath the dirt stays whole. Purchases are never late:
they come from the till, not from browsers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.simulator.draws import Bools

DUPLICATE_SHARE: Final = 0.005  # of the night's lines: the same bytes again
RESENT_SHARE: Final = 0.002  # the same event_id again, told a little differently; half of them a night later
LATE_SHARE: Final = 0.003  # in the file of a later night instead of their own
TOO_LATE_SHARE: Final = 0.05  # of the late ones: beyond the window that the shop accepts
BROKEN_SHARE: Final = 0.004

_FAULTS: Final = (
    "truncated",
    "bad_utf8",
    "nul",
    "negative_price",
    "absurd_price",
    "unknown_type",
    "far_future",
    "far_past",
    "no_user",
    "not_json",
)


@dataclass(frozen=True)
class Soiled:
    """Tonight's lines as they lie in the file, and those that other nights' files will hold."""

    lines: list[bytes]
    held: list[tuple[int, bytes]]  # (ordinal of the night in whose file it lands, line)


def soil(lines: list[bytes], may_be_late: Bools, night: int, late_nights: int, rng: np.random.Generator) -> Soiled:
    """Dirties one night's event lines, each a flat JSON object that starts with its event_id."""
    n = len(lines)
    twice = rng.random(n) < DUPLICATE_SHARE
    again = rng.random(n) < RESENT_SHARE
    again_tomorrow = rng.random(n) < 0.5
    late = may_be_late & ~twice & ~again & (rng.random(n) < LATE_SHARE)
    delay = np.minimum(1 + rng.exponential(1.5, n).astype(np.int64), max(late_nights, 1))
    delay = np.where(rng.random(n) < TOO_LATE_SHARE, late_nights + 1 + rng.integers(0, 3, n), delay)
    held = [(night + int(delay[k]), lines[k]) for k in np.flatnonzero(late).tolist()]

    extra: list[tuple[float, bytes]] = []  # (place in the file, line)
    for k in np.flatnonzero(twice).tolist():
        extra.append((k + float(rng.integers(1, 200)), lines[k]))
    for k in np.flatnonzero(again).tolist():
        line = lines[k].replace(b',"user_id"', b',"resent":true,"user_id"', 1)
        if again_tomorrow[k]:
            held.append((night + 1, line))
        else:
            extra.append((k + float(rng.integers(1, 2000)), line))
    for number, k in enumerate(np.flatnonzero(may_be_late & (rng.random(n) < BROKEN_SHARE)).tolist()):
        # Its own id, so that it is no re-sent event.
        line = lines[k].replace(b'{"event_id":"e', b'{"event_id":"x', 1)
        extra.append((float(k), broken(line, _FAULTS[number % len(_FAULTS)], rng)))

    everything = [*lines, *(line for _, line in extra)]
    place = np.concatenate([np.arange(n, dtype=np.float64), [place for place, _ in extra]])
    kept = np.concatenate([~late, np.ones(len(extra), dtype=bool)])
    order = [k for k in np.argsort(place, kind="stable").tolist() if kept[k]]
    return Soiled([everything[k] for k in order], held)


def broken(line: bytes, fault: str, rng: np.random.Generator) -> bytes:
    """One line with one fault. Raises KeyError for a fault that does not exist."""
    cut = int(rng.integers(len(line) // 4, len(line) - 2))
    price = b',"price":' + {"negative_price": b"-12.5", "absurd_price": b"98765432109.99"}.get(fault, b"0") + b"}"
    dated = line.find(b'"occurred_at":"') + len(b'"occurred_at":"')
    typed = line.find(b'"event_type":"') + len(b'"event_type":"')
    variants = {
        "truncated": line[:cut],
        "bad_utf8": line[:-1] + b',"brand":"\xc3\x28\xff"}',
        "nul": line[:cut] + b"\x00" + line[cut:],
        "negative_price": line.split(b',"price":')[0].rstrip(b"}") + price,
        "absurd_price": line.split(b',"price":')[0].rstrip(b"}") + price,
        "unknown_type": line[:typed] + b"teleport" + line[line.index(b'"', typed) :],
        "far_future": line[:dated] + b"2038-01-19" + line[dated + 10 :],
        "far_past": line[:dated] + b"1970-01-01" + line[dated + 10 :],
        "no_user": line.replace(b'"user_id":', b'"usr":', 1),
        "not_json": b"<html><body>502 Bad Gateway</body></html>",
    }
    return variants[fault]
