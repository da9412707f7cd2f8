"""Trains a challenger of each of the shop's models, once a week and when customers behave as in no night before.

One task per model; trainings take turns (pool `gpu`, one slot). A challenger changes nothing by itself: `model_promotion`
judges it. A model that would be learnt from the same data again is skipped (pink).

**When it is red**, read the last line of the task's log. Too few nights, or one class only: wait for more nights. Out of
memory: lower the model's settings in conf/shops/. Killed: clear the task; it resumes from its checkpoint. Meanwhile the
champion goes on scoring.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, dag, task

from pipelines.core.shop import Shop
from pipelines.schedule import GPU_POOL, GPU_QUEUE, work
from pipelines.schedule.parts import (
    TRAINING_AT,
    Owner,
    Tag,
    by_hand,
    challenger,
    dag_per_shop,
    defaults,
    drift,
    is_live,
)


def model_training(shop: Shop) -> DAG | None:
    if not shop.models.tasks:
        return None
    weekly = CronTriggerTimetable(TRAINING_AT, timezone=shop.timezone)
    when = AssetOrTimeSchedule(timetable=weekly, assets=[drift(shop)]) if is_live(shop) else [drift(shop)]

    @dag(
        dag_id=f"model_training_{shop.shop}",
        doc_md=__doc__,
        **by_hand(shop) | {"schedule": when},
        catchup=False,
        max_active_runs=1,
        default_args=defaults(shop, Owner.DATA_SCIENCE),
        tags=[Tag.MODELS],
    )
    def training() -> None:
        for model in shop.models.tasks:

            @task(task_id=f"train_{model}", pool=GPU_POOL, queue=GPU_QUEUE, outlets=[challenger(shop, model)])
            def train(model: str) -> dict:
                return work.train(model, shop.shop)

            train(model)

    return training()


globals().update(dag_per_shop(model_training))
