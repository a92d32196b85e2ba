"""``dynamo inventory | dataset | inject | invalidate | site | group | quota | usage``: data and sites."""
