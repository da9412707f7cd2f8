"""Airflow and MLflow on this machine: started, looked after and stopped by `nightmarket up` and `nightmarket down`."""
