"""Datasets, blocks and files: the only room that adds, changes or removes them.

Call: ``merge.merge_metadata`` (from staged rows), ``injection.inject.inject`` (a document of a person),
``invalidation`` (for good, with all that hangs on it), ``vanished`` (what sources no longer report; kept).
"""
