"""Shows, as an import error in Airflow's page, which files of conf/shops/ are broken and how; it defines no DAG.

The shops named there have no DAGs until their files are mended; the others are not touched by it.
"""

from pipelines.schedule.parts import check_shops

check_shops()
