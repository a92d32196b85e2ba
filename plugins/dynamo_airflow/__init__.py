"""Airflow's side of Dynamo: what dags/ is made of. Thin: the work is in dynamo_ops."""
