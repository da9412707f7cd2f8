"""Shows, as an import error in Airflow's page, which DAG files cannot be read, for Airflow itself says nothing of them; and
which files of conf/shops/ are broken and how. It defines no DAG.

The shops named there have no DAGs until their files are mended; the others are not touched by it.
"""

from pipelines.schedule.parts import check_files

check_files()
