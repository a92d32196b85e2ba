"""The plugins of ours, each an entry point in ``dynamo_ops.dealer_plugins``: frames in, proposals out. Pure.

``requests``, ``popularity``, ``enforcer`` (with ``enforcer_state``), ``balancer``, ``undertaker``, ``group_reassign``;
``proposal`` and ``names`` are shared. A new one is a module here (or in a package of its own), one entry point, and a
subclass of the conformance tests. Docs: docs/dealer-plugins.md.
"""
