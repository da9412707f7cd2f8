"""Reads the night's talks with customers: what they came for, how they felt, whether it was settled.

    table = conversations_of(messages_tonight(store, night, service.window_nights), knowledge, intents, sentiment, service)

One row per conversation, columns of table `conversations`. Only the customer's turns are read for intent and mood; the desk's own
words tell who spoke last. The rules of hand-over are those of the dialogue (dialogue.py), so that what the night reports as work
for people is what the desk would hand over.
"""

from collections import Counter
from datetime import date, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.columns import Columns as C
from pipelines.core.labelling import INTENT, labels_of
from pipelines.core.reading import read
from pipelines.core.servicing import NEGATIVE, NEUTRAL, POSITIVE, Intent, Knowledge, Service
from pipelines.core.storage import Store, window
from training.language.dialogue import Dialogue, IntentReader, Sentiment, Turn
from training.language.tongue import tongue_of
from training.language.transcripts import transcript_of
from training.table_files import schema_of

TABLE: Final = "conversations"
MESSAGES: Final = (
    C.MESSAGE_ID, C.CONVERSATION_ID, C.USER_KEY, C.SENDER, C.TEXT, C.OCCURRED_AT
)  # fmt: skip
SCHEMA: Final = schema_of(TABLE)


def messages_tonight(store: Store, night: date, window_nights: int) -> pa.Table:
    """All turns, of the last `window_nights` nights, of the conversations with a message tonight; n rows, maybe none."""
    tonight = read(store, "messages", [night], *MESSAGES)
    if tonight is None or not len(tonight):
        return schema_of("messages").empty_table().select(list(MESSAGES))
    told = read(store, "messages", window(night, window_nights), *MESSAGES)
    return told.filter(pc.is_in(told[C.CONVERSATION_ID], value_set=pc.unique(tonight[C.CONVERSATION_ID])))


def labelled(store: Store, knowledge: Knowledge) -> list[tuple[str, str]]:
    """Customers' messages whose intent a person told, and that intent; those of intents that are no more are left out."""
    said, known = labels_of(store, INTENT), {intent.id for intent in knowledge.intents}
    told = read(store, "messages", store.nights("messages"), C.MESSAGE_ID, C.TEXT) if said else None
    if told is None:
        return []
    pairs = {
        row[C.TEXT]: said[row[C.MESSAGE_ID]] for row in told.to_pylist() if row[C.MESSAGE_ID] in said and row[C.TEXT]
    }
    return sorted((text, intent) for text, intent in pairs.items() if intent in known)


def conversations_of(
    messages: pa.Table,
    knowledge: Knowledge,
    intents: IntentReader,
    sentiment: Sentiment | None,
    service: Service,
) -> pa.Table:
    """Messages (n rows in any order, columns MESSAGES) -> a row per conversation in which the customer spoke, by id.

    Of a conversation id that two customers share the first to speak keeps it; what others wrote under it is left out, so that nobody
    is told what another wrote.
    """
    talks = _talks(messages)
    desk = Dialogue(knowledge, intents, None, sentiment, service.unsure_below, service.hand_over_after)
    texts = [row[C.TEXT] for rows in talks.values() for row in rows if row[C.SENDER] == "customer"]
    turns = iter(desk.read(texts))
    made = []
    for conversation, rows in talks.items():
        mine = [next(turns) for row in rows if row[C.SENDER] == "customer"]
        if mine:
            made.append({C.CONVERSATION_ID: conversation, **_row(rows, mine, desk)})
    made.sort(key=lambda row: row[C.CONVERSATION_ID])
    return pa.Table.from_pylist(made, schema=SCHEMA)


def counts_of(conversations: pa.Table) -> dict[str, Any]:
    """What the manifest and the report tell of a night."""
    n = conversations.num_rows

    def share(column: str) -> int:
        return sum(conversations[column].to_pylist())

    return {
        "conversations": n,
        "out_of_scope": share(C.IS_OUT_OF_SCOPE),
        "complaints": share(C.IS_COMPLAINT),
        "resolved": share(C.IS_RESOLVED),
        "handed_over": share(C.IS_HANDED_OVER),
        "intents": dict(sorted(Counter(conversations[C.INTENT].drop_null().to_pylist()).items())),
        "moods": dict(sorted(Counter(conversations[C.MOOD].to_pylist()).items())),
    }


def _talks(messages: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Turns per conversation, in the order in which they were written."""
    rows = messages.select(MESSAGES).sort_by([(C.OCCURRED_AT, "ascending"), (C.MESSAGE_ID, "ascending")]).to_pylist()
    talks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        said = talks.setdefault(row[C.CONVERSATION_ID], [])
        if not said or said[0][C.USER_KEY] == row[C.USER_KEY]:
            said.append(row)
    return talks


def _row(rows: list[dict[str, Any]], turns: list[Turn], desk: Dialogue) -> dict[str, Any]:
    """What one conversation tells; `rows` are its turns, `turns` what was read out of the customer's."""
    last_at: datetime = rows[-1][C.OCCURRED_AT]
    understood = [(turn, found) for turn in turns if (found := desk.wish(turn))]
    wishes = [(turn, found) for turn, found in understood if not (isinstance(found, Intent) and found.is_small_talk)]
    first, last = (wishes[0], wishes[-1]) if wishes else (None, None)
    said = [found for _, found in understood if isinstance(found, Intent)]
    moods = [turn.mood for turn in turns if turn.mood != NEUTRAL]
    mood = moods[-1] if moods else NEUTRAL
    goodbye = desk.wish(turns[-1])
    is_thanked = isinstance(goodbye, Intent) and goodbye.is_thanks
    is_answered = rows[-1][C.SENDER] == "agent" and mood != NEGATIVE
    handed_over = desk.fold(turns, last_at.date())[-1].state.handed_over
    return {
        C.USER_KEY: rows[0][C.USER_KEY],
        C.LANGUAGE: tongue_of(" ".join(turn.text for turn in turns)),
        C.INTENT: first[1].id if first else None,
        C.LAST_INTENT: last[1].id if last else None,
        C.TOPIC: first[1].topic if first else None,
        C.CONFIDENCE: first[0].confidence if first else None,
        C.IS_OUT_OF_SCOPE: not understood,
        C.N_TURNS: len(turns),
        C.MOOD: mood,
        C.IS_COMPLAINT: any(found.is_complaint for found in said),
        C.IS_RESOLVED: is_answered or (mood != NEGATIVE and is_thanked) or turns[-1].mood == POSITIVE,
        C.IS_HANDED_OVER: bool(handed_over),
        C.OCCURRED_AT: last_at,
        C.TRANSCRIPT: transcript_of((row[C.SENDER], row[C.TEXT]) for row in rows),
    }
