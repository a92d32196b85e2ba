"""Datasets, blocks, files and site status, each backend an entry point (``dynamo_ops.metadata_sources``,
``dynamo_ops.site_sources``) under one conformance suite. Docs: docs/sources.md.

``dbs``, ``files``, ``json_service`` (with ``json_mapping``), ``site_status``; ``tables`` and
``parts`` help.
"""
