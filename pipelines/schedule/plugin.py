"""What Airflow loads by the entry point in pyproject.toml: our pages, and the tab that leads to them on the page of a run.

Every process of Airflow loads plugins, so the pages themselves are imported only where they are served.
"""

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class NightmarketPlugin(AirflowPlugin):
    name = "nightmarket"
    external_views = [  # noqa: RUF012 - Airflow's form
        {
            "name": "Night",
            "href": "/nightmarket/dag_run/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "night",
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        from pipelines.schedule.pages import app

        return [{"app": app, "url_prefix": "/nightmarket", "name": "Nightmarket"}]
