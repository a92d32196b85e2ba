"""FTS 3: the client on its REST interface, its job documents, and what its answers mean (docs/FTS_CONTRACT.md).

Call: ``connect.fts_client`` (of the settings: one server), ``client.FtsClient``, ``watch`` (what triggers poll),
``job`` (the documents), ``identity`` (who we are to a server, and the job ids that follow), ``delegation`` (proxies),
``errors`` (refusals). Knows nothing of the inventory: which job is whose is ``transfer``'s, and in its batches.
"""
