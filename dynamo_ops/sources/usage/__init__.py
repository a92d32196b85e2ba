"""Accesses and demand, each backend an entry point (``dynamo_ops.access_sources``, ``dynamo_ops.demand_sources``).

``files`` and ``day_files`` (drops), ``http_json`` (a feed), ``htcondor``; ``source`` is what a plugin implements.
"""
