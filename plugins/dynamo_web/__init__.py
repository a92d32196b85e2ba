"""Dynamo over HTTP: a FastAPI app that Airflow's API server mounts at /dynamo. Thin: reads and acts are in dynamo_ops.

``mount`` (what the plugin gives to Airflow), ``app`` (the app), ``guard`` (which requests come in at all; ``origin``
and ``body`` of writes), ``caller`` (who asks, may they, and how often), ``problem`` (errors), ``lists`` (pages and
streams), ``writes`` (acts, done once; ``large``: of large documents), ``run`` (what runs of Airflow are told),
``databases``, ``api`` (a router a resource), ``pages`` (for people: the same, to be looked at).
"""
