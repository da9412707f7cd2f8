"""JSON lines in bulk: one column at a time, then one pass over the rows."""

import json
from datetime import date

import numpy as np

from pipelines.core.tables import EVENT_TYPES
from pipelines.simulator.answer import OUTCOMES, STATUSES, Answers
from pipelines.simulator.behaviour import KIND, Events, n_bots
from pipelines.simulator.customers import customer_id
from pipelines.simulator.draws import Ints, uniform
from pipelines.simulator.world import DAY_S, World

_WITH_ITEM = [KIND[name] for name in EVENT_TYPES if name not in ("search", "complaint", "unsubscribe")]


def stamps(at_ms: Ints) -> list[str]:
    """ISO 8601 in UTC with milliseconds and 'Z', such as 2026-03-01T10:00:00.123Z."""
    return np.datetime_as_string(at_ms.astype("datetime64[ms]"), unit="ms", timezone="UTC").tolist()


def event_lines(world: World, night: int, events: Events, channels: tuple[str, ...]) -> list[bytes]:
    """The events feed, one line per event, in the order of `events`; absent fields are left out."""
    day = f"{date.fromordinal(night):%y%m%d}"
    first_bot = world.customers.size
    bots = [customer_id(first_bot + number) for number in range(n_bots(world))]
    ids = np.concatenate([world.customers.ids, np.array(bots, dtype=object)])
    heads = np.concatenate([world.catalogue.heads(), [""]])
    has_item = np.isin(events.kind, _WITH_ITEM) & (events.item >= 0)
    items = heads[np.where(has_item, events.item, len(heads) - 1)]

    rest = np.full(len(events), "", dtype=object)
    priced, inverse = np.unique(events.price_cents, return_inverse=True)
    prices = np.array([f',"price":{cents // 100}.{cents % 100:02d}' if cents >= 0 else "" for cents in priced.tolist()])
    rest = prices.astype(object)[inverse]
    _append(rest, events.quantity > 0, [f',"quantity":{q}' for q in events.quantity[events.quantity > 0].tolist()])
    paid = events.order >= 0
    _append(rest, paid, [f',"order_id":"o{day}{number:07d}"' for number in events.order[paid].tolist()])
    told = events.channel >= 0
    _append(rest, told, [f',"channel":{json.dumps(channels[code])}' for code in events.channel[told].tolist()])
    asked = events.kind == KIND["search"]
    tongue = world.customers.is_chinese[np.minimum(events.user[asked], first_bot - 1)].astype(int)
    searches = zip(events.item[asked].tolist(), tongue.tolist(), events.query[asked].tolist(), strict=True)
    _append(rest, asked, [f',"query":"{world.catalogue.query(item, t, variant)}"' for item, t, variant in searches])

    session = np.full(len(events), "", dtype=object)
    seated = events.session >= 0
    _append(session, seated, [f'"session_id":"s{day}{number:08d}",' for number in events.session[seated].tolist()])
    kinds = np.array([f'"event_type":"{name}","occurred_at":"' for name in EVENT_TYPES], dtype=object)[events.kind]
    users, sessions = ids[events.user].tolist(), session.tolist()
    columns = (users, sessions, kinds.tolist(), stamps(events.at_ms), items.tolist(), rest.tolist())
    text = "\n".join(
        [
            f'{{"event_id":"e{day}{number:08d}","user_id":"{user}",{s}{kind}{at}"{item}{more}}}'
            for number, (user, s, kind, at, item, more) in enumerate(zip(*columns, strict=True))
        ]
    )
    return text.encode().split(b"\n") if text else []


def delivery_lines(world: World, night: int, answers: Answers, cost_cents: dict[str, int]) -> list[bytes]:
    """The deliveries feed: what became of every row of the plan."""
    plan, day = answers.plan, f"{date.fromordinal(night):%y%m%d}"
    at = stamps(world.utc_ms(night, answers.sent_s))
    lines = []
    for row, (key, strategy, place, status) in enumerate(
        zip(plan.user_key, plan.strategy_id, plan.treatment.tolist(), answers.status.tolist(), strict=True)
    ):
        channel = plan.treatments[place].channel
        cents = 0 if STATUSES[status] == "skipped" else cost_cents.get(channel, 0)
        told = f'"user_key":{json.dumps(key)},"strategy_id":{json.dumps(strategy)},"channel":{json.dumps(channel)}'
        lines.append(
            f'{{"delivery_id":"d{day}{row:07d}",{told},"status":"{STATUSES[status]}"'
            f',"sent_at":"{at[row]}","cost":{cents / 100:.2f}}}'.encode()
        )
    return lines


def outcome_lines(world: World, night: int, answers: Answers, paid_ms: Ints, start_s: np.ndarray) -> list[bytes]:
    """The outcomes feed. `paid_ms` [customer]: when tonight's purchase was paid; `start_s`: when the visit began."""
    plan, day = answers.plan, f"{date.fromordinal(night):%y%m%d}"
    visit_ms = world.utc_ms(night, start_s)
    wait = uniform(world.seed, "annoyed after", night, answers.user) * 7200.0
    annoyed_ms = world.utc_ms(night, np.minimum(answers.sent_s + 20.0 + wait, DAY_S - 2.0))
    channel = [treatment.channel for treatment in plan.treatments]
    lines: list[bytes] = []
    for name in OUTCOMES:
        rows = np.flatnonzero(answers.happened[name])
        who = answers.user[rows]
        at = stamps({"click": visit_ms[who], "purchase": paid_ms[who]}.get(name, annoyed_ms[rows]))
        for row, when in zip(rows.tolist(), at, strict=True):
            revenue = f',"revenue":{int(answers.order_cents[row]) / 100:.2f}' if name == "purchase" else ""
            lines.append(
                f'{{"outcome_id":"r{day}{len(lines):07d}","delivery_id":"d{day}{row:07d}"'
                f',"user_key":{json.dumps(plan.user_key[row])},"channel":{json.dumps(channel[plan.treatment[row]])}'
                f',"outcome":"{name}","occurred_at":"{when}"'
                f"{revenue}}}".encode()
            )
    return lines


def _append(texts: np.ndarray, mask: np.ndarray, more: list[str]) -> None:
    """Adds `more` to the texts that the mask picks, in place."""
    texts[mask] = texts[mask] + np.array(more, dtype=object)
