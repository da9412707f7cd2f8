"""Creatives with a label, to judge moderation by: every *.jsonl of a folder, one object a line.

`label` (bad or good) and `text`; optional `language`, `channel`, `family`, `split` (fit: rules were made on it; judged),
`facts` and `offer`, each an object or a name in the `facts` and `offers` of a *_facts.json beside it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.core.errors import NoDataError
from training.language.moderation import Creative
from training.language.moderation_views import is_chinese

FIT: Final = "fit"
_KEYS: Final = ("id", "label", "text", "language", "channel", "family", "split", "facts", "offer")


@dataclass(frozen=True)
class RedTeam:
    """n creatives."""

    creatives: list[Creative]
    is_bad: np.ndarray  # (n,) bool
    is_fit: np.ndarray  # (n,) bool
    families: list[str]


def read_red_team(folder: Path) -> RedTeam:
    """Raises NoDataError, in one line that names file and line, where there is none or a line is not such an object."""
    known: dict[str, dict[str, Any]] = {"facts": {}, "offers": {}}
    for path in sorted(folder.glob("*_facts.json")):
        told = _parsed(path, path.read_text(encoding="utf-8"), 1)
        known = {key: known[key] | told.get(key, {}) for key in known}
    rows = []
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        rows += [_row(path, number, line, known) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise NoDataError(f"{folder}: no labelled creative; expected *.jsonl with lines {{label, text, facts}}")
    creatives, is_bad, is_fit, families = map(list, zip(*rows, strict=True))
    return RedTeam(creatives, np.array(is_bad), np.array(is_fit), families)


def _row(path: Path, number: int, line: str, known: dict[str, dict[str, Any]]) -> tuple[Creative, bool, bool, str]:
    told = _parsed(path, line, number)
    if unknown := sorted(set(told) - set(_KEYS)):
        raise _wrong(path, number, f"unknown key '{unknown[0]}'; allowed: {', '.join(_KEYS)}")
    if told.get("label") not in ("bad", "good") or not isinstance(told.get("text"), str):
        raise _wrong(path, number, "label must be bad or good, and text a text")
    facts = _named(path, number, told.get("facts", {}), known["facts"])
    offer = _named(path, number, told.get("offer", {}), known["offers"])
    text = told["text"]
    creative = Creative(
        str(told.get("id", number)),
        "",
        text,
        told.get("language") or ("zh" if is_chinese(text) else "en"),
        told.get("channel", "email"),
        facts=facts | offer,
    )
    return creative, told["label"] == "bad", told.get("split") == FIT, told.get("family", "")


def _named(path: Path, number: int, value: Any, known: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value, str):
        if value not in known:
            raise _wrong(path, number, f"no facts or offer is named '{value}'; known: {', '.join(known) or 'none'}")
        value = known[value]
    if not isinstance(value, dict):
        raise _wrong(path, number, "facts and offer must be objects or names")
    return value


def _parsed(path: Path, text: str, number: int) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except json.JSONDecodeError as error:
        raise _wrong(path, number, f"no JSON ({error.msg})") from None
    if not isinstance(told, dict):
        raise _wrong(path, number, "no object")
    return told


def _wrong(path: Path, number: int, what: str) -> NoDataError:
    return NoDataError(f"{path}: line {number}: {what}")
