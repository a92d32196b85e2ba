"""Datasets, blocks, files and site status from DBS, files, and any HTTP JSON service.

Each backend is an entry point (``dynamo_ops.metadata_sources``, ``dynamo_ops.site_sources``) under one conformance
suite. Docs: docs/sources.md.
"""
