"""The resources of version 1, a router each: parse, ask whether they may, call dynamo_ops, shape.

``me``, ``datasets`` (and blocks, files), ``replicas`` (and where files are), ``sites``, ``groups`` (and usage).
Written too: ``locks``.
"""
