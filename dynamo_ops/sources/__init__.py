"""Every plugin that asks the world: metadata and site status (``metadata``), accesses and demand (``usage``).

A source only translates. Whether its answer can be right is for the gate to judge (``dynamo_ops.quality``); a source
raises SourceDataError only for what has no place in a frame. Call: ``loader`` (a plugin by its settings), ``tasks``
(the DAG's steps), ``source`` (what a plugin implements); ``reading`` is how bytes become rows.
"""
