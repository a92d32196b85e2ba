"""What data exist, where their replicas are, and what is subscribed: one room a noun, each the only writer of its
tables.

``staging`` (pulled, not believed yet) → ``catalogue`` (datasets, blocks, files), ``site``, ``replica``,
``subscription``. Call: ``replica.read.read_inventory`` (one moment as the ``frames``), ``folder`` (the same from CSV
files), ``properties`` (a fact of datasets that sources report and policies ask for is declared there, in one line),
``states`` (what moves by rules of ours, and the legal moves), ``kinds`` (every other word of a row), ``checksum`` (one
spelling of what others write in many), ``checks`` (what a check of a site finds, since that says what counts as a
copy), ``lfn`` (what files may be called), ``kept`` (what nobody deletes now), ``freshness``, ``names``,
``request_event`` (what is told of requests that are closed).
"""
