"""The inventory: what data exist, where their replicas are, and what is wished for. PostgreSQL, read in columns."""
