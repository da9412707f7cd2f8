"""Our pages inside Airflow's; an image holds the project as a folder, so pip's entry point is not there to tell of them."""

from pipelines.schedule.plugin import NightmarketPlugin

__all__ = ["NightmarketPlugin"]
