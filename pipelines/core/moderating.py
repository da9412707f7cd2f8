"""What no creative may say, conf/moderation/*.yaml: families of phrases by language and market, words that are claims, limits.

    moderation = load_moderation()

Who reads a shop's own conf/ (NIGHTMARKET_CONF) without a folder `moderation` in it gets the project's.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.core.config import PROJECT
from pipelines.core.errors import ConfigError
from pipelines.core.settings import Settings, read_yaml

CLAIMS_FILE: Final = "claims.yaml"
CHANNELS_FILE: Final = "channels.yaml"
PEOPLE_FILE: Final = "people.yaml"
PLAIN_FILE: Final = "plain.yaml"


class Family(Settings):
    """Texts that are held for one reason."""

    why: str = Field(min_length=3, description="the reason, told to whoever reviews")
    market: str | None = Field(None, description="only where this market's law holds, e.g. cn; everywhere by default")
    offer_may_say: bool = Field(False, description="not held where the offer's own text says the same words")
    phrases: tuple[str, ...] = Field((), description="as they are written; whole words, any case")
    patterns: tuple[str, ...] = Field((), description="regular expressions over lower-case text, without look-behind")
    allowed: tuple[str, ...] = Field((), description="phrases that mean something else and are not looked at")

    @field_validator("patterns")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                found = re.compile(one)
            except re.error as error:
                raise ValueError(f"'{one}' is no regular expression: {error}") from None
            if found.match(""):
                raise ValueError(f"'{one}' matches an empty text, so it would hold every creative")
        return value


class Phrases(Settings):
    """One language: conf/moderation/LANGUAGE.yaml."""

    language: str = Field(pattern=r"^[a-z]{2}$")
    families: dict[str, Family] = Field(min_length=1)


class Concept(Settings):
    """One thing that a product can be or have, in the words of all languages."""

    words: tuple[str, ...] = Field(min_length=1)
    implied_by: tuple[str, ...] = Field((), description="other concepts that make it true: oak is wood")


class Claims(Settings):
    """Words that claim something of a product, by kind: true only where the catalogue says them too."""

    kinds: dict[Literal["material", "colour", "feature", "origin", "brand"], dict[str, Concept]]
    allowed: tuple[str, ...] = Field((), description="phrases that mean something else: golden hour, iron out")

    @model_validator(mode="after")
    def _implied_are_there(self) -> "Claims":
        for kind, concepts in self.kinds.items():
            for name, concept in concepts.items():
                if unknown := next((one for one in concept.implied_by if one not in concepts), None):
                    raise ValueError(f"{kind}.{name} is implied by '{unknown}', which is no {kind}")
        return self


class ChannelLimit(Settings):
    """How long a text may be, in characters."""

    latin: int = Field(ge=1, description="text of letters that one byte each can carry")
    wide: int = Field(ge=1, description="text with a Chinese character or an emoji")


class Channels(Settings):
    limits: dict[str, ChannelLimit] = Field(description="by channel")
    otherwise: ChannelLimit = Field(description="of a channel that is not named")


class People(Settings):
    first_names: frozenset[str] = Field(description="common ones that are no other word, lower case")
    nobody: frozenset[str] = Field(description="who is greeted and is nobody: friend, Monday, Christmas")


class Plain(Settings):
    words: dict[str, str] = Field(description="by language, with spaces between: what claims nothing of any product")


class Moderation(Settings):
    """All of the folder."""

    languages: tuple[Phrases, ...]
    claims: Claims
    channels: Channels
    people: People
    plain: Plain

    def families(self, market: str | None = None) -> Iterable[tuple[str, Family]]:
        """Name and family, of all languages: a Chinese text can swear in English. Every market's where none is named."""
        for one in self.languages:
            for name, family in one.families.items():
                if market is None or family.market in (None, market):
                    yield name, family


def moderation_folder() -> Path:
    own = Path(os.environ.get("NIGHTMARKET_CONF", PROJECT / "conf")) / "moderation"
    return own if own.is_dir() else PROJECT / "conf" / "moderation"


def load_moderation(folder: Path | None = None) -> Moderation:
    """Raises ConfigError with file, line and key; a folder without a language would let everything pass, so it is one."""
    folder = folder or moderation_folder()
    languages = sorted(
        path for path in folder.glob("*.yaml") if path.name not in (CLAIMS_FILE, CHANNELS_FILE, PEOPLE_FILE, PLAIN_FILE)
    )
    if not languages:
        raise ConfigError(f"{folder}: no LANGUAGE.yaml with banned phrases; expected en.yaml or the like; add one")
    return Moderation(
        languages=tuple(read_yaml(path, Phrases) for path in languages),
        claims=read_yaml(folder / CLAIMS_FILE, Claims),
        channels=read_yaml(folder / CHANNELS_FILE, Channels),
        people=read_yaml(folder / PEOPLE_FILE, People),
        plain=read_yaml(folder / PLAIN_FILE, Plain),
    )
