"""Waits for a person to review a challenger: in Airflow's page or by the tag `review` in MLflow's, whichever comes first.

The task holds no worker while it waits. Airflow wakes it when somebody answers there, and every `look_again` to see
whether somebody has set the tag; what was answered in Airflow becomes the tag, so that the registry tells who decided.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.core.config import load_machine
from pipelines.core.registry import Registry
from pipelines.core.storage import default_root

_REVIEWS: Final = {"Approve": "approved", "Reject": "rejected"}
_LOOK_AGAIN: Final = timedelta(seconds=30)


class ReviewOperator(HITLOperator):
    """Ends when the challenger that the task `judged_by` found waiting has been reviewed; skipped where none waits.

    Returns {version, review, by}.
    """

    def __init__(
        self, *, task: str, shop: str, judged_by: str, look_again: timedelta = _LOOK_AGAIN, **kwargs: Any
    ) -> None:
        super().__init__(
            subject=f"Shall the new {task} model of {shop} become champion?",
            body=f"{{{{ ti.xcom_pull(task_ids='{judged_by}')['name'] }}}} version "
            f"{{{{ ti.xcom_pull(task_ids='{judged_by}')['version'] }}}} passed every check:\n\n"
            f"{{% for reason in ti.xcom_pull(task_ids='{judged_by}')['reasons'] %}}- {{{{ reason }}}}\n{{% endfor %}}\n"
            "Its card, plots and the champion beside it are in MLflow.",
            options=list(_REVIEWS),
            response_timeout=look_again,
            **kwargs,
        )
        self.reviewed_task = task
        self.shop = shop
        self.judged_by = judged_by

    def execute(self, context: Any) -> Any:
        judged = context["ti"].xcom_pull(task_ids=self.judged_by)
        if judged["verdict"] != "waiting":
            raise AirflowSkipException(
                f"{judged['name']} version {judged['version']} waits for nobody: {judged['verdict']}"
            )
        if told := self._tag(judged["version"]):
            return told
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        version = context["ti"].xcom_pull(task_ids=self.judged_by)["version"]
        try:
            answered = super().execute_complete(context, event)
        except HITLTimeoutError:  # nobody has answered here so far: look at the tag, then go on waiting
            return self._tag(version) or super().execute(context)
        review = _REVIEWS[answered["chosen_options"][0]]
        who: Mapping[str, Any] = answered["responded_by_user"] or {}
        by = str(who.get("name") or "unknown")
        self._tell(version, review, f"{review} in Airflow by {by}")
        return {"version": version, "review": review, "by": by}

    def _tag(self, version: str) -> dict[str, str] | None:
        """What somebody has said in MLflow."""
        review = self._registry().get(self.reviewed_task, version).tags.get("review", "")
        return {"version": version, "review": review, "by": "MLflow"} if review in _REVIEWS.values() else None

    def _tell(self, version: str, review: str, note: str) -> None:
        registry = self._registry()
        registry.tell(registry.get(self.reviewed_task, version), {"review": review, "review_note": note})

    def _registry(self) -> Registry:
        return Registry(self.shop, default_root(), load_machine().mlflow_uri)
