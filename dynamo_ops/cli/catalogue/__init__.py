"""``dynamo inventory | dataset | inject | invalidate | site | quota``: what data and sites there are."""
