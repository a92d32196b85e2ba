"""Dynamo over HTTP: a FastAPI app that Airflow's API server mounts at /dynamo. Thin: reads and acts are in dynamo_ops.

``mount`` (what the plugin gives to Airflow), ``app`` (the app), ``guard`` (which requests come in at all), ``login``
(who asks, and may they), ``problem`` (errors), ``lists`` (pages and streams), ``databases``, ``api`` (a router a
resource).
"""
