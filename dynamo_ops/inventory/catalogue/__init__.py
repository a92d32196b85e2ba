"""Datasets, blocks and files: the only room that adds, changes or removes them.

Call: ``merge.merge_metadata`` (from staged rows), ``injection.inject.inject`` (a document of a person),
``invalidation`` (``removal`` of all that hangs on it; ``undo``: the names may come in again), ``vanished`` (what
sources no longer report; kept), ``aside`` (datasets with a bad record; asked for again).
``faults``: what is wrong in a document, each by its place.
"""
