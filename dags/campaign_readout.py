"""Reads out what the campaigns did, after each night: answers per channel and strategy, and the holdout beside the rest.

The numbers are those of the night's report, with intervals, as the task's return value (*XCom*).

**When it is red**: no night has a report yet, or its tables cannot be read; run `nightly_marketing` first.
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
