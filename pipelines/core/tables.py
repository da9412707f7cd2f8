"""Every table of the store, declared once: name, layer, grain, columns, order of rows, owner.

Job, suite, test and documentation refer to these. A new table is one more `Table(...)` here, a suite of the same name
in great_expectations/expectations/ and the transformation that fills it.
"""

from dataclasses import dataclass
from typing import Final

from pipelines.core.columns import Columns as C

STRING, BIGINT, DOUBLE, BOOLEAN, TIMESTAMP, VECTOR = (
    "string",
    "bigint",
    "double",
    "boolean",
    "timestamp",
    "array<double>",
)

EVENT_TYPES: Final = (
    "impression",
    "view",
    "click",
    "search",
    "favorite",
    "cart",
    "remove_from_cart",
    "purchase",
    "complaint",
    "unsubscribe",
)


@dataclass(frozen=True)
class Table:
    """One table. `grain` says what one row is; `columns` maps name to engine type in file order;
    `sort_by` makes the order of rows, and so the bytes, a function of the content."""

    name: str
    layer: str
    grain: str
    columns: dict[str, str]
    sort_by: tuple[str, ...]
    partition: str = C.NIGHT
    owner: str = "data-engineering"
    is_on_demand: bool = False  # made when asked for, after the night: no night makes it anew, no report tells of it
    is_kept: bool = False  # whatever the retention of its layer: later nights are made of it, and it tells of nobody

    @property
    def suite(self) -> str:
        """The suite in great_expectations/expectations/ that gates this table; all raw tables share one."""
        return "raw_lines" if self.partition == C.ARRIVAL else self.name


_LINE = {C.SOURCE_FILE: STRING, C.LINE_NUMBER: BIGINT}
_RAW_LINES = {C.ARRIVAL: STRING, **_LINE, C.RAW_TEXT: STRING, C.FAULT: STRING}
_REJECTED = {C.ARRIVAL: STRING, **_LINE, C.REASON: STRING, C.RAW_TEXT: STRING}
_COUNTS = {
    C.N_EVENTS: BIGINT,
    C.N_VIEWS: BIGINT,
    C.N_SEARCHES: BIGINT,
    C.N_FAVORITES: BIGINT,
    C.N_CARTS: BIGINT,
    C.N_PURCHASES: BIGINT,
    C.REVENUE_CENTS: BIGINT,
}

FEEDS: Final = ("events", "catalog", "reviews", "messages", "deliveries", "outcomes")

_ALL = [
    *(
        Table(
            name=f"raw_{feed}",
            layer="raw",
            grain=f"one row per line of a landed {feed} file, as it came, partitioned by the night it arrived for",
            columns=_RAW_LINES,
            sort_by=(C.SOURCE_FILE, C.LINE_NUMBER),
            partition=C.ARRIVAL,
            is_kept=feed == "catalog",
        )
        for feed in FEEDS
    ),
    Table(
        name="quarantine",
        layer="raw",  # raw text holds raw user ids, so it never leaves the raw layer
        grain="one row per event line that arrived for the night and could not become an event, with the reason",
        columns=_REJECTED,
        sort_by=(C.SOURCE_FILE, C.LINE_NUMBER),
    ),
    Table(
        name="feed_quarantine",
        layer="raw",
        grain="one row per line of another feed that arrived for the night and could not be read, with the reason",
        columns=_REJECTED,
        sort_by=(C.SOURCE_FILE, C.LINE_NUMBER),
    ),
    Table(
        name="events",
        layer="clean",
        grain="one row per distinct event of the shop's local night",
        columns={
            C.USER_KEY: STRING,
            C.SESSION_ID: STRING,
            C.OCCURRED_AT: TIMESTAMP,
            C.EVENT_TYPE: STRING,
            C.ITEM_ID: STRING,
            C.CATEGORY_ID: STRING,
            C.CATEGORY_PATH: STRING,
            C.BRAND: STRING,
            C.PRICE_CENTS: BIGINT,
            C.QUANTITY: BIGINT,
            C.QUERY: STRING,
            C.ORDER_ID: STRING,
            C.CHANNEL: STRING,
            C.IS_BOT: BOOLEAN,
        },
        # All that tells two events apart: which file told of it first must not change a byte.
        sort_by=(
            C.USER_KEY,
            C.OCCURRED_AT,
            C.EVENT_TYPE,
            C.ITEM_ID,
            C.SESSION_ID,
            C.CATEGORY_ID,
            C.QUERY,
            C.ORDER_ID,
            C.CHANNEL,
            C.PRICE_CENTS,
            C.QUANTITY,
            C.BRAND,
            C.CATEGORY_PATH,
        ),
    ),
    Table(
        name="catalog",
        layer="clean",
        grain="one row per item, as last told by the end of the night",
        columns={
            C.ITEM_ID: STRING,
            C.TITLE: STRING,
            C.DESCRIPTION: STRING,
            C.CATEGORY_ID: STRING,
            C.CATEGORY_PATH: STRING,
            C.BRAND: STRING,
            C.PRICE_CENTS: BIGINT,
            C.UNIT_COST_CENTS: BIGINT,
            C.STOCK: BIGINT,
            C.LANGUAGE: STRING,
            C.ATTRIBUTES: STRING,
        },
        sort_by=(C.ITEM_ID,),
    ),
    Table(
        name="reviews",
        layer="clean",
        grain="one row per review that arrived for the night",
        columns={
            C.REVIEW_ID: STRING,
            C.USER_KEY: STRING,
            C.ITEM_ID: STRING,
            C.RATING: BIGINT,
            C.TEXT: STRING,
            C.LANGUAGE: STRING,
            C.OCCURRED_AT: TIMESTAMP,
        },
        sort_by=(C.REVIEW_ID,),
    ),
    Table(
        name="messages",
        layer="clean",
        grain="one row per service message that arrived for the night",
        columns={
            C.MESSAGE_ID: STRING,
            C.CONVERSATION_ID: STRING,
            C.USER_KEY: STRING,
            C.SENDER: STRING,
            C.TEXT: STRING,
            C.LANGUAGE: STRING,
            C.OCCURRED_AT: TIMESTAMP,
        },
        sort_by=(C.MESSAGE_ID,),
    ),
    Table(
        name="deliveries",
        layer="clean",
        grain="one row per message that the shop sent, told for the night",
        columns={
            C.DELIVERY_ID: STRING,
            C.USER_KEY: STRING,
            C.STRATEGY_ID: STRING,
            C.CHANNEL: STRING,
            C.STATUS: STRING,
            C.COST_CENTS: BIGINT,
            C.SENT_AT: TIMESTAMP,
        },
        sort_by=(C.DELIVERY_ID,),
    ),
    Table(
        name="outcomes",
        layer="clean",
        grain="one row per answer to a delivery (click, purchase, complaint, unsubscribe), told for the night",
        columns={
            C.OUTCOME_ID: STRING,
            C.DELIVERY_ID: STRING,
            C.USER_KEY: STRING,
            C.CHANNEL: STRING,
            C.OUTCOME: STRING,
            C.REVENUE_CENTS: BIGINT,
            C.OCCURRED_AT: TIMESTAMP,
        },
        sort_by=(C.OUTCOME_ID,),
    ),
    Table(
        name="sessions",
        layer="features",
        grain="one row per user per session of the night, bots left out",
        columns={
            C.USER_KEY: STRING,
            C.SESSION_ID: STRING,
            C.STARTED_AT: TIMESTAMP,
            C.ENDED_AT: TIMESTAMP,
            C.DURATION_S: BIGINT,
            **_COUNTS,
            C.N_ITEMS: BIGINT,
        },
        sort_by=(C.USER_KEY, C.SESSION_ID),
    ),
    Table(
        name="user_profiles",
        layer="features",
        grain="one row per user seen in the window that ends with the night, bots left out",
        columns={
            C.USER_KEY: STRING,
            C.RECENCY_NIGHTS: BIGINT,
            C.N_ACTIVE_NIGHTS: BIGINT,
            C.N_SESSIONS: BIGINT,
            **_COUNTS,
            C.N_ITEMS: BIGINT,
            C.AVG_ORDER_CENTS: BIGINT,
            C.AVG_PRICE_CENTS: BIGINT,
            C.PRICE_BAND: STRING,
            C.TOP_CATEGORY_ID: STRING,
            C.TOP_CATEGORY_SHARE: DOUBLE,
            C.TOP_BRAND: STRING,
            C.TOP_BRAND_SHARE: DOUBLE,
            C.ACTIVE_HOUR: BIGINT,
            C.NIGHT_SHARE: DOUBLE,
            C.MORNING_SHARE: DOUBLE,
            C.AFTERNOON_SHARE: DOUBLE,
            C.EVENING_SHARE: DOUBLE,
            C.NON_LATIN_SHARE: DOUBLE,  # null for who searched nothing
            C.N_DELIVERIES: BIGINT,
            C.N_CLICKS: BIGINT,
            C.VECTOR: VECTOR,
        },
        sort_by=(C.USER_KEY,),
    ),
    Table(
        name="channel_response",
        layer="features",
        grain="one row per user per channel with any delivery, outcome or unsubscribe up to the night",
        columns={
            C.USER_KEY: STRING,
            C.CHANNEL: STRING,
            C.N_DELIVERIES: BIGINT,
            C.N_DELIVERIES_CAP_WINDOW: BIGINT,
            C.N_CLICKS: BIGINT,
            C.N_PURCHASES: BIGINT,
            C.N_COMPLAINTS: BIGINT,
            C.REVENUE_CENTS: BIGINT,
            C.IS_SUPPRESSED: BOOLEAN,
        },
        sort_by=(C.USER_KEY, C.CHANNEL),
    ),
    Table(
        name="hour_response",
        layer="features",
        grain="one row per user per hour of the day with any visit or delivery in the window that ends with the night",
        columns={
            C.USER_KEY: STRING,
            C.LOCAL_HOUR: BIGINT,
            C.N_SESSIONS: BIGINT,
            C.N_DELIVERIES: BIGINT,
            C.N_CLICKS: BIGINT,
        },
        sort_by=(C.USER_KEY, C.LOCAL_HOUR),
    ),
    Table(
        name="item_stats",
        layer="features",
        grain="one row per item seen in the window that ends with the night, bots left out",
        columns={
            C.ITEM_ID: STRING,
            C.CATEGORY_ID: STRING,
            C.BRAND: STRING,
            C.PRICE_CENTS: BIGINT,
            **_COUNTS,
            C.N_USERS: BIGINT,
            C.CONVERSION_SHARE: DOUBLE,
            C.TREND_RATIO: DOUBLE,
        },
        sort_by=(C.ITEM_ID,),
    ),
    Table(
        name="item_pairs",
        layer="features",
        grain="one row per pair of items (item_a < item_b) met in the same sessions of the window, strongest per item kept",
        columns={
            C.ITEM_A: STRING,
            C.ITEM_B: STRING,
            C.N_SESSIONS_BOTH: BIGINT,
            C.SCORE: DOUBLE,
            C.LIFT: DOUBLE,
        },
        sort_by=(C.ITEM_A, C.ITEM_B),
    ),
    Table(
        name="category_stats",
        layer="features",
        grain="one row per category of the night alone, bots left out",
        columns={C.CATEGORY_ID: STRING, **_COUNTS, C.N_USERS: BIGINT},
        sort_by=(C.CATEGORY_ID,),
        is_kept=True,
    ),
    Table(
        name="profile_projection",
        layer="features",
        grain="one row per profile feature: how it is standardised and projected; fitted on anchor nights only",
        columns={C.FEATURE: STRING, C.MEAN: DOUBLE, C.SCALE: DOUBLE, C.LOADINGS: VECTOR},
        sort_by=(C.FEATURE,),
        is_kept=True,
    ),
    Table(
        name="segment_models",
        layer="features",
        grain="one row per customer segment: its name and centre; fitted on anchor nights only",
        columns={C.SEGMENT_ID: BIGINT, C.SEGMENT_NAME: STRING, C.N_USERS: BIGINT, C.CENTROID: VECTOR},
        sort_by=(C.SEGMENT_ID,),
        is_kept=True,
    ),
    Table(
        name="segments",
        layer="features",
        grain="one row per user of user_profiles: the segment whose centre is nearest",
        columns={C.USER_KEY: STRING, C.SEGMENT_ID: BIGINT, C.SEGMENT_NAME: STRING, C.DISTANCE: DOUBLE},
        sort_by=(C.USER_KEY,),
    ),
    Table(
        name="review_opinions",
        layer="features",
        grain="one row per review that arrived for the night and aspect that it tells of, with where it says so",
        columns={
            C.REVIEW_ID: STRING,
            C.USER_KEY: STRING,
            C.ITEM_ID: STRING,
            C.ASPECT: STRING,
            C.OPINION: BIGINT,
            C.SCORE: DOUBLE,  # mean over the clauses about it; below 0 blames
            C.SHARE: DOUBLE,  # of the review's clauses that are about it
            C.FIRST_CHARACTER: BIGINT,  # of the clause that says it most
            C.END_CHARACTER: BIGINT,
            C.LANGUAGE: STRING,
        },
        sort_by=(C.REVIEW_ID, C.ASPECT),
        owner="data-science",
    ),
    Table(
        name="opinion_alerts",
        layer="decisions",
        grain="one row per topic that reviews blame more than chance explains at the end of the night",
        columns={
            C.ASPECT: STRING,
            C.FIRST_NIGHT: STRING,
            C.N_NEGATIVE: BIGINT,  # reviews that blame it from then on
            C.N_EXPECTED: DOUBLE,
            C.N_REVIEWS: BIGINT,  # from then on, of all topics
            C.P_VALUE: DOUBLE,  # that as many would by chance, of this topic alone
            C.ITEM_IDS: STRING,  # those blamed most, ";" between them
            C.WHY: STRING,
        },
        sort_by=(C.ASPECT,),
        owner="marketing",
    ),
    Table(
        name="review_summaries",
        layer="decisions",
        grain="one row per sentence that stands for others: of an item's reviews in one language (scope item), for or "
        "against it, or of those that an alert counts (scope alert). It belongs to who wrote it",
        columns={
            C.SCOPE: STRING,
            C.ITEM_ID: STRING,
            C.LANGUAGE: STRING,
            C.SIDE: STRING,  # pro, con
            C.RANK: BIGINT,
            C.ASPECT: STRING,
            C.SENTENCE: STRING,  # addresses, numbers and the like are masked
            C.N_SAID: BIGINT,  # reviews that say the same of this aspect, this one included
            C.N_REVIEWS: BIGINT,  # of the item in this language; of an alert those that blame
            C.REVIEW_ID: STRING,
            C.USER_KEY: STRING,
        },
        sort_by=(C.SCOPE, C.ITEM_ID, C.LANGUAGE, C.SIDE, C.ASPECT, C.RANK),
        owner="marketing",
    ),
    Table(
        name="item_attributes",
        layer="features",
        grain="one row per item and attribute that the catalogue does not tell and its own words do",
        columns={
            C.ITEM_ID: STRING,
            C.ATTRIBUTE: STRING,
            C.VALUE: STRING,
            C.SOURCE: STRING,  # title, description; text where all of it says so
            C.FIRST_CHARACTER: BIGINT,  # null where all of the text says it
            C.END_CHARACTER: BIGINT,
            C.CONFIDENCE: DOUBLE,
        },
        sort_by=(C.ITEM_ID, C.ATTRIBUTE),
        owner="data-science",
    ),
    Table(
        name="strategy_scores",
        layer="decisions",
        grain="one row per user of user_profiles per candidate strategy: what the champion expects of it tomorrow",
        columns={
            C.USER_KEY: STRING,
            C.STRATEGY_ID: STRING,
            C.P_CLICK: DOUBLE,
            C.P_CONVERSION: DOUBLE,
            C.SPEND_CENTS: DOUBLE,  # expected, buyers and others together
            C.P_COMPLAINT: DOUBLE,
            C.LIFT_CONVERSION: DOUBLE,  # over sending nothing
            C.LIFT_SPEND_CENTS: DOUBLE,
            C.LIFT_SPEND_SE_CENTS: DOUBLE,  # standard error of the lift; null where the champion tells none
            C.LONG_RUN_CENTS: DOUBLE,  # profit of later nights that it brings or costs; null without a policy that knows
            C.MODEL_NAME: STRING,
            C.MODEL_VERSION: STRING,
        },
        sort_by=(C.USER_KEY, C.STRATEGY_ID),
        owner="data-science",
    ),
    Table(
        name="conversations",
        layer="features",
        grain="one row per service conversation with a message tonight, as it stood at the end of the night",
        columns={
            C.CONVERSATION_ID: STRING,
            C.USER_KEY: STRING,
            C.LANGUAGE: STRING,  # that the customer writes: en, zh or other
            C.INTENT: STRING,  # or article that the customer came for; null where nothing was understood
            C.LAST_INTENT: STRING,  # what the customer wants last
            C.TOPIC: STRING,  # of what the customer came for
            C.CONFIDENCE: DOUBLE,  # in the intent, 0 to 1; null without one
            C.IS_OUT_OF_SCOPE: BOOLEAN,  # nothing that the shop's knowledge tells of
            C.N_TURNS: BIGINT,  # of the customer
            C.MOOD: STRING,  # of the customer's last words that tell one
            C.IS_COMPLAINT: BOOLEAN,
            C.IS_RESOLVED: BOOLEAN,  # closed with thanks, or answered and not in a bad mood
            C.IS_HANDED_OVER: BOOLEAN,  # the desk would leave it to a person
            C.OCCURRED_AT: TIMESTAMP,  # of its last message
            C.TRANSCRIPT: STRING,  # JSON, [[sender, text], ...], personal data masked
        },
        sort_by=(C.CONVERSATION_ID,),
        owner="data-science",
    ),
    Table(
        name="recommendations",
        layer="decisions",
        grain="one row per user of user_profiles per slot: the item shown there tomorrow, and why. Who is held out from "
        "recommendations, or took back all consent, has none",
        columns={
            C.USER_KEY: STRING,
            C.SLOT: BIGINT,
            C.ITEM_ID: STRING,
            C.SCORE: DOUBLE,  # log-odds that the item is touched; without a champion a weight of own history
            C.SOURCE: STRING,  # that ranks it highest
            C.RUNNER_UP_SOURCE: STRING,  # that ranks it next, null where no other has it
            C.REASON_CODE: STRING,
            C.REASON_CAUSE: STRING,  # the earlier item, category, search or percent that carried the score
            C.WHY_EN: STRING,
            C.WHY_ZH: STRING,
            C.PROPENSITY: DOUBLE,  # that this slot got this item; 1 where no lot was drawn
            C.IS_EXPLORE: BOOLEAN,
            C.MODEL_NAME: STRING,
            C.MODEL_VERSION: STRING,
        },
        sort_by=(C.USER_KEY, C.SLOT),
        owner="data-science",
    ),
    Table(
        name="segment_recommendations",
        layer="decisions",
        grain="one row per customer segment per slot: the item shown there tomorrow to who is not known by name; segment -1 "
        "is everybody",
        columns={
            C.SEGMENT_ID: BIGINT,
            C.SLOT: BIGINT,
            C.ITEM_ID: STRING,
            C.SCORE: DOUBLE,  # customers of the segment who touch it, a night
            C.WHY_EN: STRING,
            C.WHY_ZH: STRING,
        },
        sort_by=(C.SEGMENT_ID, C.SLOT),
        owner="data-science",
    ),
    Table(
        name="item_relations",
        layer="decisions",
        grain="one row per item that can be sold and item that goes with it, the best first by rank",
        columns={
            C.ITEM_ID: STRING,
            C.RANK: BIGINT,
            C.RELATED_ITEM_ID: STRING,
            C.RELATION: STRING,
            C.LIFT: DOUBLE,  # how much likelier than by chance both are in one session, drawn to what their words say
            C.N_SESSIONS_BOTH: BIGINT,  # of complements those in which both were carted or bought
        },
        sort_by=(C.ITEM_ID, C.RANK),
        owner="data-science",
    ),
    Table(
        name="bundles",
        layer="decisions",
        grain="one row per pair of items (item_a < item_b) worth offering together at a discount, the best first by rank",
        columns={
            C.RANK: BIGINT,
            C.ITEM_A: STRING,
            C.ITEM_B: STRING,
            C.N_SESSIONS_BOTH: BIGINT,  # in which both were carted or bought
            C.LIFT: DOUBLE,
            C.LIFT_LOW: DOUBLE,  # with 95% confidence
            C.PRICE_CENTS: BIGINT,  # of both alone
            C.BUNDLE_CENTS: BIGINT,  # of both together
            C.MARGIN_PERCENT: DOUBLE,
            C.PROFIT_PER_1000_SESSIONS_CENTS: DOUBLE,  # expected, more than without the offer
            C.BREAK_EVEN_UPTAKE: DOUBLE,  # of the share that takes both unasked, from which the offer pays
            C.WHY: STRING,
        },
        sort_by=(C.RANK,),
        owner="marketing",
    ),
    Table(
        name="price_suggestions",
        layer="decisions",
        grain="one row per item of the catalogue: the price suggested for tomorrow, what bound it, and why",
        columns={
            C.ITEM_ID: STRING,
            C.CATEGORY_ID: STRING,
            C.PRICE_CENTS: BIGINT,  # tonight's, as told
            C.UNIT_COST_CENTS: BIGINT,  # null where not told: the shop's default margin stands for it
            C.REFERENCE_CENTS: BIGINT,  # that parity is held to
            C.SUGGESTED_CENTS: BIGINT,  # null without a price tonight, as are all expectations
            C.ELASTICITY: DOUBLE,  # percent of units per percent of price
            C.ELASTICITY_LOW: DOUBLE,
            C.ELASTICITY_HIGH: DOUBLE,
            C.EXPECTED_UNITS: DOUBLE,  # tomorrow at the suggested price
            C.EXPECTED_UNITS_LOW: DOUBLE,
            C.EXPECTED_UNITS_HIGH: DOUBLE,
            C.PROFIT_CENTS: DOUBLE,  # of those units
            C.PROFIT_LOW_CENTS: DOUBLE,
            C.PROFIT_HIGH_CENTS: DOUBLE,
            C.GAIN_CENTS: DOUBLE,  # of profit over tonight's price
            C.GAIN_LOW_CENTS: DOUBLE,
            C.GAIN_HIGH_CENTS: DOUBLE,
            C.GUARDRAIL: STRING,
            C.REASON_CODE: STRING,
            C.WHY: STRING,
            C.MODEL_NAME: STRING,
            C.MODEL_VERSION: STRING,
        },
        sort_by=(C.ITEM_ID,),
        owner="marketing",
    ),
    Table(
        name="category_trend",
        layer="decisions",
        grain="one row per category and coming night: the demand expected, in events of people",
        columns={
            C.CATEGORY_ID: STRING,
            C.HORIZON_NIGHTS: BIGINT,  # 1 is tomorrow
            C.FORECAST: DOUBLE,
            C.FORECAST_LOW: DOUBLE,
            C.FORECAST_HIGH: DOUBLE,
            C.METHOD: STRING,
            C.BACKTEST_ERROR: DOUBLE,  # mean absolute error of that method on nights known; null without a backtest
            C.NAIVE_ERROR: DOUBLE,  # of the seasonal naive forecast on the same nights
            C.N_NIGHTS_KNOWN: BIGINT,
        },
        sort_by=(C.CATEGORY_ID, C.HORIZON_NIGHTS),
        owner="data-science",
    ),
    Table(
        name="campaign_plan",
        layer="decisions",
        grain="one row per user of user_profiles: the strategy chosen for tomorrow, or why there is none",
        columns={
            C.USER_KEY: STRING,
            C.SEGMENT_ID: BIGINT,
            C.STRATEGY_ID: STRING,  # "none" where nothing is sent
            C.OFFER: STRING,
            C.DISCOUNT_PERCENT: BIGINT,
            C.CHANNEL: STRING,
            C.SEND_WINDOW: STRING,
            C.SEND_HOUR: BIGINT,
            C.FREQUENCY: BIGINT,
            C.CREATIVE_STYLE: STRING,
            C.ITEM_ID: STRING,  # what the message is about; null where nothing is sent, or nothing recommended
            C.COST_CENTS: BIGINT,
            C.IS_HOLDOUT: BOOLEAN,
            C.PROPENSITY: DOUBLE,
            C.LOT_PROPENSITY: DOUBLE,  # had all drawn lots; null where no lot was drawn, or a model chose
            C.LOT_NOTHING_PROPENSITY: DOUBLE,  # that the same lot gives nothing
            C.LOT_EXPECTED_CENTS: DOUBLE,  # profit that the champion expects of what the lot may send, on average
            C.EXPERIMENT_ARMS: STRING,  # "experiment=arm", ";" between several; "" without any, and for the holdout
            C.N_ALLOWED: BIGINT,
            C.RUNNER_UP_STRATEGY_ID: STRING,
            C.BINDING_CONSTRAINT: STRING,
            C.WHY: STRING,
            C.EXPECTED_PROFIT_CENTS: DOUBLE,  # over sending nothing, by the champion, later nights as scores tell; null without
            C.MODEL_NAME: STRING,  # "" without a champion
            C.MODEL_VERSION: STRING,
        },
        sort_by=(C.USER_KEY,),
        owner="marketing",
    ),
    Table(
        name="creatives",
        layer="decisions",
        grain="one row per text that was written for tonight's plan: what it is about, who wrote it, whether it may be sent",
        columns={
            C.CREATIVE_ID: STRING,
            C.BRIEF_ID: STRING,
            C.ITEM_ID: STRING,  # null where it names no product
            C.OFFER_ID: STRING,
            C.CHANNEL: STRING,
            C.CREATIVE_STYLE: STRING,
            C.SEGMENT_NAME: STRING,  # whom it was written for; null: anybody
            C.LANGUAGE: STRING,
            C.TEXT: STRING,
            C.SOURCE: STRING,
            C.MODEL_VERSION: STRING,  # "none" of templates
            C.STATUS: STRING,
            C.RULE: STRING,
            C.DETAIL: STRING,
        },
        sort_by=(C.CREATIVE_ID,),
        owner="marketing",
    ),
    Table(
        name="plan_copy",
        layer="decisions",
        grain="one row per user of campaign_plan who is sent something: the text, drawn among those that may be sent; without "
        "one (creative_id null) the shop has the offer's own words",
        columns={
            C.USER_KEY: STRING,
            C.STRATEGY_ID: STRING,
            C.CREATIVE_ID: STRING,
            C.PROPENSITY: DOUBLE,  # that this text was drawn; null without one
        },
        sort_by=(C.USER_KEY,),
        owner="marketing",
    ),
    Table(
        name="experiment_readout",
        layer="decisions",
        grain="one row per experiment, arm and metric: what is known at the end of the night, against the control arm",
        columns={
            C.EXPERIMENT: STRING,
            C.ARM: STRING,
            C.CONTROL_ARM: STRING,
            C.METRIC: STRING,
            C.ROLE: STRING,
            C.N_NIGHTS: BIGINT,
            C.N_USERS: BIGINT,  # of the arm
            C.N_CONTROL_USERS: BIGINT,
            C.ARM_VALUE: DOUBLE,  # numbers are null until both arms have data
            C.CONTROL_VALUE: DOUBLE,
            C.EFFECT: DOUBLE,  # arm less control, adjusted by what was known before
            C.EFFECT_LOW: DOUBLE,  # holds at all nights together
            C.EFFECT_HIGH: DOUBLE,
            C.STD_ERROR: DOUBLE,
            C.P_VALUE: DOUBLE,  # always valid, Holm over the arms; of the primary metric alone
            C.VARIANCE_CUT_SHARE: DOUBLE,
            C.SMALLEST_EFFECT: DOUBLE,  # found with 80% power by one two-sided 5% test of these data
            C.SAMPLE_RATIO_P: DOUBLE,
            C.STATE: STRING,
            C.VERDICT: STRING,
        },
        sort_by=(C.EXPERIMENT, C.ARM, C.METRIC),
        owner="marketing",
        is_on_demand=True,
    ),
    Table(
        name="plan_reasons",
        layer="decisions",
        grain="one row per user who is sent something and rank: what makes the lift that the model expects of it. Rank 0 is "
        "the usual customer under the usual message, 1 to 3 the largest contributions, 4 all others; together "
        "they are the lift. Who is sent nothing, or was planned without scores, has none",
        columns={
            C.USER_KEY: STRING,
            C.RANK: BIGINT,
            C.STRATEGY_ID: STRING,  # that the plan sends
            C.FACTOR: STRING,
            C.TOLD: STRING,  # what is so of this customer and strategy, in words
            C.CONTRIBUTION_CENTS: DOUBLE,  # to the lift in spend over sending nothing
        },
        sort_by=(C.USER_KEY, C.RANK),
        owner="data-science",
    ),
]

TABLES: Final[dict[str, Table]] = {table.name: table for table in _ALL}

# Published like tables (staged, one rename, manifest), but pages and files for people and for the shop, not rows.
ARTEFACTS: Final[dict[str, Table]] = {
    table.name: table
    for table in (
        Table(
            "plan_export",
            "decisions",
            "one CSV file per channel, those of recommendations and their manifest.json, as the shop receives it",
            {},
            (),
        ),
        Table("nightly_report", "reports", "report.html and report.json of the night", {}, ()),
    )
}
