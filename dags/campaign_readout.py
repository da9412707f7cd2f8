"""Reads out what the campaigns and experiments did, after each night, and publishes table experiment_readout: verdicts on the
holdout, the shop's experiments and the lots, with intervals that hold however often one looks; oddities of what came back.

The same verdicts stand in the night's report; all numbers are the task's return value (*XCom*).

**When it is red**: no night has a report yet, its tables cannot be read, or the table broke its suite; run
`nightly_marketing` first, or open the audit's page that the log names.
"""

from airflow.sdk import DAG, dag, task

from pipelines.core.shop import Shop
from pipelines.schedule import work
from pipelines.schedule.parts import Owner, Tag, by_hand, dag_per_shop, defaults, night_done


def campaign_readout(shop: Shop) -> DAG:
    @dag(
        dag_id=f"campaign_readout_{shop.shop}",
        doc_md=__doc__,
        **by_hand(shop) | {"schedule": [night_done(shop)]},
        catchup=False,
        max_active_runs=1,
        default_args=defaults(shop, Owner.MARKETING),
        tags=[Tag.RESULTS],
    )
    def campaigns() -> None:
        @task
        def read_out() -> dict:
            return work.read_out(shop.shop)

        read_out()

    return campaigns()


globals().update(dag_per_shop(campaign_readout))
