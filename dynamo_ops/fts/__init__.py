"""FTS 3: the client on its REST interface, its job documents, and what its answers mean (docs/fts-contract.md).

Call: ``connect.fts_client`` (of the settings), ``client.FtsClient``, ``watch`` (what triggers poll), ``job``.
Knows nothing of the inventory.
"""
