"""What Airflow runs: the parts that every DAG shares, and the work of their tasks. The DAGs themselves are in dags/."""

GPU_POOL = "gpu"  # one slot: trainings take turns
GPU_QUEUE = "gpu"  # Celery (docker/): the worker that carries torch; other executors take no notice
