"""Judges new challengers of the shop's models against their champions, and promotes those that are better.

Runs when `model_training` has registered one. A model named in `models.needs_review` of conf/shops/ then waits for a
person: answer under *Required Actions* here, or set the tag `review` to `approved` or `rejected` (with `review_note`) on
the version in MLflow; whichever comes first. Only then does the alias `champion` move, or not.

A refusal is green: it is a decision, its reasons are in the log, in MLflow's tags and in the model card.

**When it is red**, read the last line of the task's log. The registry does not answer: start it (`make up`), clear the task.
The champion is wrong although it was better: `nightmarket rollback TASK --shop SHOP`.
"""

from airflow.sdk import DAG, AssetAny, dag, task

from pipelines.core.shop import Shop
from pipelines.schedule import GPU_QUEUE, work
from pipelines.schedule.parts import Owner, Tag, by_hand, challenger, dag_per_shop, defaults
from pipelines.schedule.review import ReviewOperator


def model_promotion(shop: Shop) -> DAG | None:
    if not shop.models.tasks:
        return None

    @dag(
        dag_id=f"model_promotion_{shop.shop}",
        doc_md=__doc__,
        **by_hand(shop) | {"schedule": AssetAny(*(challenger(shop, model) for model in shop.models.tasks))},
        catchup=False,
        max_active_runs=1,
        default_args=defaults(shop, Owner.DATA_SCIENCE),
        tags=[Tag.MODELS],
    )
    def promotion() -> None:
        for model in shop.models.tasks:

            @task(task_id=f"judge_{model}", queue=GPU_QUEUE)
            def judge(model: str) -> dict:
                return work.judge(model, shop.shop)

            judged = judge(model)
            if model in shop.models.needs_review:
                review = ReviewOperator(
                    task_id=f"review_{model}", task=model, shop=shop.shop, judged_by=f"judge_{model}"
                )
                judged >> review >> judge.override(task_id=f"promote_{model}")(model)  # and so moves the alias

    return promotion()


globals().update(dag_per_shop(model_promotion))
