"""Locks: which replicas must not be deleted, by whom and until when (SEMANTICS §1, §9).

Call: ``store`` (set, remove, list), ``covered`` (what one covers, what would be unprotected without it),
``ending`` (those that end soon), ``coverage.locked_expr`` (on frames), ``rows.locked_rows`` (in the transaction that
is about to delete).
"""
