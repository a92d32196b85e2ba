"""``dynamo inventory | dataset | replica | inject | invalidate | site | group | quota | usage``: data and sites."""
