"""Accesses and demand from feeds, files and HTCondor; each an entry point (``dynamo_ops.access_sources``,
``dynamo_ops.demand_sources``). ``source`` is what a plugin implements.
"""
