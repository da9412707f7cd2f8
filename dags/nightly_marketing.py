"""Tomorrow's marketing plan of one shop, every night: land, clean, features, listen, market, recommend, score, plan,
publish, report; then removes what the shop keeps no longer (`retain`).

Runs at 02:00 of the shop's time zone for the day that ended at midnight. Any past night can be run again, in any order:
*Trigger, Backfill* for many, *Clear* on a run for one. A night that is run again makes the same bytes, or marks the
nights that depend on what has changed as stale.

**When it is red**, read the last line of the red task's log: it says what, where and what to do.

- `land`: the shop's files are missing or broken; have them sent again, then clear `land`.
- an audit failed (`clean`, `features`, ...): nothing was published. The log links to the pages that show which rows broke
  what; mend the data or the rule, then clear the task. Lines in quarantine: DAG `replay_quarantine`.
- the disk is full, a process was killed: make room, then clear the task; nothing is half written.
- it is missing, or its runs wait: `nightmarket doctor` says whether the DAGs can be read, the database answers and the
  clock was set back; a run that waited goes on by itself.
- `watch_drift` pink (skipped) is good: the night is like those before it.
"""

from airflow.sdk import DAG, Param, chain, dag, task

from pipelines.core.shop import Shop
from pipelines.schedule import work
from pipelines.schedule.parts import Owner, Tag, dag_per_shop, defaults, drift, night_done, nights_of


def nightly_marketing(shop: Shop) -> DAG:
    @dag(
        dag_id=f"nightly_marketing_{shop.shop}",
        doc_md=__doc__,
        **nights_of(shop),
        catchup=False,
        max_active_runs=1,
        default_args=defaults(shop, Owner.DATA_ENGINEERING),
        tags=[Tag.NIGHTLY],
        params={
            "night": Param(
                None, type=["null", "string"], format="date", description="empty: the night of the schedule or backfill"
            )
        },
    )
    def night() -> None:
        @task
        def land() -> dict:
            return work.run_stage("land", shop.shop)

        @task
        def clean() -> dict:
            return work.run_stage("clean", shop.shop)

        @task
        def features() -> dict:
            return work.run_stage("features", shop.shop)

        @task
        def listen() -> dict:
            return work.run_stage("listen", shop.shop)

        @task
        def market() -> dict:
            return work.run_stage("market", shop.shop)

        @task
        def recommend() -> dict:
            return work.run_stage("recommend", shop.shop)

        @task
        def score() -> dict:
            return work.run_stage("score", shop.shop)

        @task
        def plan() -> dict:
            return work.run_stage("plan", shop.shop)

        @task
        def publish() -> dict:
            return work.run_stage("publish", shop.shop)

        @task
        def report() -> dict:
            return work.run_stage("report", shop.shop)

        @task(outlets=[night_done(shop)])
        def retain() -> dict:
            return work.run_stage("retain", shop.shop)

        @task(outlets=[drift(shop)])
        def watch_drift() -> dict:
            return work.watch_drift(shop.shop)

        stages = (
            land(),
            clean(),
            features(),
            listen(),
            market(),
            recommend(),
            score(),
            plan(),
            publish(),
            report(),
            retain(),
        )
        chain(*stages, watch_drift())

    return night()


globals().update(dag_per_shop(nightly_marketing))
