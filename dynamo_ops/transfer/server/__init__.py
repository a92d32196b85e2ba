"""The FTS servers of an installation, one by one.

``holding``: which batches each has; ``health``: which of them are ill, and since when; ``share``: which server a link
goes to now, and how much more it is given; ``moving``: what waits at one that is ill goes to another; ``closing``:
what no server gets. Docs: docs/transfers.md.
"""
