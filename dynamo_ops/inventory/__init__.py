"""What data exist, where their replicas are, and what is subscribed: one room a noun, each the only writer of its
tables.

``staging`` (pulled, not believed yet) → ``catalogue`` (datasets, blocks, files), ``site``, ``replica``,
``subscription``. Call: ``read.read_inventory`` (one moment as the frames of ``frames``), ``folder`` (the same from CSV
files), ``states`` (every state that a row can have, and the legal moves), ``freshness``, ``names``.
"""
