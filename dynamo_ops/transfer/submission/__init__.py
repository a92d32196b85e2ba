"""Recorded batches become FTS jobs.

``naming`` finds the URLs of files, ``submit`` sends one batch; ``lot`` sends those of a task and finds whose fault a
refusal is; ``refusal`` keeps what a server has refused, and takes batches apart; ``limits`` how much may be under way.
Docs: docs/transfers.md.
"""
