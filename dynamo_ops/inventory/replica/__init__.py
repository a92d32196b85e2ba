"""Replicas: the only writer of their tables, and the one answer to "what is a copy?" (SEMANTICS §1, §10).

A module a table writes it: ``dataset_replica``, ``block_replica``, ``present_file`` (and what is called bad). Acts:
``files`` (arrive, leave), ``grown`` (blocks that gained files), ``declared`` (by a person), ``empty`` (what is empty
goes), ``removal`` (with what was declared invalid). Questions: ``copies`` (present, doomed, good, last copy, last
source; SQL), ``good`` (the same on frames, by block), ``doomed`` (of what a decision is about to delete).
``read``: the whole inventory of one
moment as frames, for decisions. ``usage``: sums by dataset, site and owner that are kept (the only writer of these).
"""
