"""How the messages of a shop's plan are worded, `write` in conf/shops/NAME.yaml: how many wordings, how long, in which language."""

from typing import Final, Literal

from pydantic import Field, field_validator

from pipelines.core.settings import Settings

Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
TEMPLATE: Final = "template"  # the source of what no model wrote
SAFE: Final = "safe template"  # of what names no product: it stands where nothing else may be sent
LOOKED_BACK_NIGHTS: Final = 28  # for which kind of wording was answered more often
USABLE: Final = ("clean", "approved")  # states of a creative that a customer may read

_CHARS: Final = {"email": (400, 200), "push": (140, 70), "sms": (160, 70)}  # by language; an SMS is one message
_OTHER_CHARS: Final = (160, 80)


class Write(Settings):
    """The nightly copy; see pipelines/write.py."""

    language: Language = Field("en", description="of customers whose reviews and messages do not tell theirs")
    variants: int = Field(2, ge=1, le=8, description="wordings of each message; every customer gets one by lot")
    max_generated: int = Field(
        150, ge=0, le=100_000, description="messages a night that the model words, those to most customers first"
    )
    max_chars: dict[str, int] = Field(
        {}, description="channel -> longest text, in whatever language; see docs/INPUT.md"
    )
    by_segment: bool = Field(
        False, description="the model is told the segment's name: more wordings, fewer of them reused"
    )
    even_percent: float = Field(
        30, gt=0, le=100, description="of customers, who get any wording alike often however well one kind did before"
    )
    seed: int = 20260301

    @field_validator("max_chars")
    @classmethod
    def _room(cls, value: dict[str, int]) -> dict[str, int]:
        short = sorted(channel for channel, chars in value.items() if chars < 20)
        if short:
            raise ValueError(f"{', '.join(short)}: below 20 characters nothing can be said")
        return value

    def limit(self, channel: str, language: Language) -> int:
        """Characters that a message of the channel may have."""
        return self.max_chars.get(channel) or _CHARS.get(channel, _OTHER_CHARS)[LANGUAGES.index(language)]
