"""Datasets, blocks and files: the only room that adds, changes or removes them.

Call: ``merge.merge_metadata`` (from staged rows), ``injection.inject.inject`` (a document of a person),
``invalidation`` (for good; ``removal`` of all that hangs on it), ``vanished`` (what sources no longer report; kept).
``faults``: what is wrong in a document, each by its place.
"""
