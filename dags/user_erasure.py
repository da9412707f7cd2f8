"""Erases one customer from everything that the shop's store holds, and keeps a certificate with counts.

Airflow keeps the parameters of a run, so the customer's id is none of them. Hand the request in first, on the machine:

    nightmarket erase --shop SHOP --user - --later

which asks for the id, keeps it in a file that only its owner can read and prints the name of the request; start this DAG
with that name.

**When it is red**, read the last line of the log and clear the task: an erasure that was broken off goes on where it was.
"""

from airflow.sdk import DAG, Param, dag, task

from pipelines.core.shop import Shop
from pipelines.schedule import work
from pipelines.schedule.parts import Owner, Tag, by_hand, dag_per_shop, defaults


def user_erasure(shop: Shop) -> DAG:
    @dag(
        dag_id=f"user_erasure_{shop.shop}",
        doc_md=__doc__,
        **by_hand(shop),
        catchup=False,
        max_active_runs=1,
        default_args=defaults(shop, Owner.DATA_ENGINEERING),
        tags=[Tag.PRIVACY, Tag.BY_HAND],
        params={
            "request": Param(
                type="string", pattern="^[0-9a-f]{16}$", description="as `nightmarket erase --later` told it"
            )
        },
    )
    def erasure() -> None:
        @task
        def erase() -> dict:
            return work.erase(shop.shop)

        erase()

    return erasure()


globals().update(dag_per_shop(user_erasure))
