"""How the shop answers a plan: reads the messages of the export, sends them, sees what they do."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from pipelines.core.columns import Columns as C
from pipelines.core.errors import LandingError
from pipelines.simulator.behaviour import Visits
from pipelines.simulator.catalogue import item_id
from pipelines.simulator.draws import Bools, Floats, Ints, uniform
from pipelines.simulator.exported import REMEDY, files_of, rows_of
from pipelines.simulator.pages import PAGES
from pipelines.simulator.response import Tonight, Treatment, respond
from pipelines.simulator.state import State
from pipelines.simulator.world import DAY_S, World

STATUSES = ("delivered", "bounced", "skipped")
OUTCOMES = ("click", "purchase", "complaint", "unsubscribe")
_LAST_SEND_S = DAY_S - 900
_NEEDED = (
    C.USER_KEY,
    C.STRATEGY_ID,
    C.DISCOUNT_PERCENT,
    C.CHANNEL,
    "from_hour",
    "to_hour",
    C.FREQUENCY,
    C.CREATIVE_STYLE,
)


@dataclass(frozen=True)
class Plan:
    """The export's rows: at most one per customer."""

    user_key: list[str]
    strategy_id: list[str]
    treatment: Ints  # [row] -> place in `treatments`
    treatments: list[Treatment]
    item_id: list[str] | None = None  # [row] what the message is about, "" for nothing in particular; None: no row is


@dataclass(frozen=True)
class Answers:
    """What became of each plan row."""

    plan: Plan
    user: Ints  # -1: no customer has this key
    status: Ints  # place in STATUSES
    sent_s: Floats  # local second
    happened: dict[str, Bools]  # outcome -> [row]
    order_cents: Ints  # of the purchase, where it happened

    @property
    def delivered(self) -> Bools:
        return self.status == 0


def read_plan(folder: Path, shop: str, made_on: date) -> Plan:
    """The plan of a folder, every file verified. Raises LandingError for what is missing, changed or malformed."""
    files = files_of(folder, shop, made_on)
    rows = [row for name in sorted(set(files) - PAGES) for row in rows_of(folder, name, files[name], _NEEDED)]
    keys = [row[C.USER_KEY] for row in rows]
    if len(keys) != len(set(keys)):
        raise LandingError(f"{folder}: a user_key stands in two rows, expected one strategy per customer; {REMEDY}")
    found: dict[Treatment, int] = {}
    try:
        places = [found.setdefault(_treatment(row), len(found)) for row in rows]
    except (ValueError, TypeError) as error:
        raise LandingError(f"{folder}: a row that cannot be sent ({error}); {REMEDY}") from error
    treatment = np.array(places, dtype=np.int64)
    items = [row.get(C.ITEM_ID) or "" for row in rows]
    return Plan(keys, [row[C.STRATEGY_ID] for row in rows], treatment, list(found), items)


def no_answers() -> Answers:
    """For a night that follows no plan."""
    none = np.zeros(0, dtype=np.int64)
    happened = {name: none.astype(bool) for name in OUTCOMES}
    return Answers(Plan([], [], none, []), none, none, none.astype(np.float64), happened, none)


def send(world: World, evening: Tonight, state: State, plan: Plan, user_of: dict[str, int]) -> Answers:
    """Sends the plan's messages; `user_of` maps a pseudonym to the customer's place."""
    user = np.array([user_of.get(key, -1) for key in plan.user_key], dtype=np.int64)
    n = len(user)
    hours = [
        (t.from_hour, t.to_hour) if t.send_hour is None else (t.send_hour, t.send_hour + 1) for t in plan.treatments
    ]
    begin = np.array([3600.0 * first for first, _ in hours])[plan.treatment]
    end = np.array([min(3600.0 * last, _LAST_SEND_S) for _, last in hours])[plan.treatment]
    sent_s = begin + np.maximum(end - begin, 60.0) * uniform(world.seed, "sent", evening.night, user)
    refused, bounced = user < 0, np.zeros(n, dtype=bool)
    for place, treatment in enumerate(plan.treatments):
        mine = np.flatnonzero((plan.treatment == place) & (user >= 0))
        bounced[mine] = evening.bounces(treatment.channel)[user[mine]]
        gone = state.unsubscribed.get(treatment.channel)
        if gone is not None:
            refused[mine] |= gone[user[mine]]
    status = np.where(refused, 2, np.where(bounced, 1, 0))
    happened = {name: np.zeros(n, dtype=bool) for name in OUTCOMES}
    order_cents = np.zeros(n, dtype=np.int64)
    known = {item_id(place): place for place in range(world.catalogue.size_of)} if plan.item_id else {}
    item = np.array([known.get(told, -1) for told in plan.item_id or [""] * n], dtype=np.int64)
    for place, treatment in enumerate(plan.treatments):
        mine = np.flatnonzero((plan.treatment == place) & (status == 0))
        who = user[mine]
        response = respond(world, evening, who, treatment, state.fatigue[who], item[mine])
        order_cents[mine] = response.order_cents
        for name, true in response.happens(evening, who).items():
            happened[name][mine] = true
    return Answers(plan, user, status, sent_s, happened, order_cents)


def visits(world: World, evening: Tonight, answers: Answers, channels: tuple[str, ...]) -> Visits:
    """What every customer does tonight: as the message made them, or as they would have done anyway."""
    n = world.customers.size
    everyone = np.arange(n)
    bought = respond(world, evening, everyone, None, np.zeros(n)).happens(evening, everyone)["purchase"]
    discount, channel = np.zeros(n, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    clicked, comes, start = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n)
    rows = np.flatnonzero(answers.delivered)
    who, of = answers.user[rows], answers.plan.treatment[rows]
    bought[who] = answers.happened["purchase"][rows]
    discount[who] = np.array([t.discount_percent for t in answers.plan.treatments], dtype=np.int64)[of]
    channel[who] = np.array([channels.index(t.channel) for t in answers.plan.treatments], dtype=np.int64)[of]
    clicked[who] = answers.happened["click"][rows]
    comes[who] = clicked[who] | bought[who]
    delay = -np.log(uniform(world.seed, "delay", evening.night, who)) * 2400.0
    start[who] = np.minimum(answers.sent_s[rows] + 30.0 + delay, DAY_S - 101)
    return Visits(bought, discount, comes, clicked, channel, start)


def after(state: State, answers: Answers) -> tuple[Floats, dict[str, Bools]]:
    """Fatigue and unsubscribes once the messages are out."""
    fatigue = state.fatigue.copy()
    gone = {channel: flags.copy() for channel, flags in state.unsubscribed.items()}
    rows = np.flatnonzero(answers.delivered)
    weight = np.array([0.5 + 0.15 * (t.frequency - 1) for t in answers.plan.treatments])
    if len(rows):
        fatigue[answers.user[rows]] += weight[answers.plan.treatment[rows]]
        fatigue[answers.user[rows]] += 0.5 * answers.happened["complaint"][rows]
    for row in np.flatnonzero(answers.happened["unsubscribe"]).tolist():
        channel = answers.plan.treatments[answers.plan.treatment[row]].channel
        gone.setdefault(channel, np.zeros(len(fatigue), dtype=bool))[answers.user[row]] = True
    return fatigue, gone


def _treatment(row: dict[str, str]) -> Treatment:
    treatment = Treatment(
        discount_percent=int(row[C.DISCOUNT_PERCENT]),
        channel=row[C.CHANNEL],
        from_hour=int(row["from_hour"]),
        to_hour=int(row["to_hour"]),
        frequency=int(row[C.FREQUENCY]),
        creative_style=row[C.CREATIVE_STYLE],
        send_hour=int(row[C.SEND_HOUR]) if row.get(C.SEND_HOUR) else None,
    )
    if treatment.send_hour is not None and not treatment.from_hour <= treatment.send_hour < treatment.to_hour:
        raise ValueError(f"send_hour outside its window: {treatment}")
    if not (0 <= treatment.from_hour < treatment.to_hour <= 24 and 0 <= treatment.discount_percent <= 100):
        raise ValueError(f"hours or discount out of range: {treatment}")
    return treatment
