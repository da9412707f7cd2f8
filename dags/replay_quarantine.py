"""Judges the lines that arrived for one night again, after a fix of the data's connector or configuration, then runs the
nights that this made stale.

Started by hand with the night. Lines that are good now become events of their night; the others stay in quarantine.

**When it is red**, read the last line of the log. Plans of past nights are made again too: send only what you mean to send.
"""

from airflow.sdk import DAG, Param, dag, task

from pipelines.core.shop import Shop
from pipelines.schedule import work
from pipelines.schedule.parts import Owner, Tag, by_hand, dag_per_shop, defaults


def replay_quarantine(shop: Shop) -> DAG:
    @dag(
        dag_id=f"replay_quarantine_{shop.shop}",
        doc_md=__doc__,
        **by_hand(shop),
        catchup=False,
        max_active_runs=1,
        default_args=defaults(shop, Owner.DATA_ENGINEERING),
        tags=[Tag.BY_HAND],
        params={"night": Param(type="string", format="date", description="whose lines are judged again")},
    )
    def replay() -> None:
        @task
        def replay_lines() -> dict:
            return work.replay_quarantine(shop.shop)

        replay_lines()

    return replay()


globals().update(dag_per_shop(replay_quarantine))
