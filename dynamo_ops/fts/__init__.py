"""FTS 3: the client on its REST interface, its job documents, and what its answers mean (docs/FTS_CONTRACT.md).

Call: ``servers.fts_servers`` (of the settings: which server takes a link, each asked for its own), ``client.FtsClient``
(of one), ``watch`` (what triggers poll), ``job`` (the documents), ``url`` (what FTS makes of names), ``identity`` (who
we are to a server, and the job ids that follow), ``delegation`` (proxies), ``errors`` (refusals). Knows nothing of the
inventory: which job is whose, and at which server, is ``transfer``'s, and in its batches.
"""
