"""Replicas: the only writer of ``dataset_replicas``, ``block_replicas`` and ``block_replica_files``, and the one answer
to "what is a copy?" (SEMANTICS §1, §10).

Call: ``owner`` (claim, disown, leave, drop what is empty), ``files`` (files arrive and leave), ``grown`` (blocks that
gained files), ``copies`` (present, complete, last copy, last source), ``removal`` (with what was declared invalid).
"""
