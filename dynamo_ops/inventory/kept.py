"""What is not deleted by anybody: what is locked, and datasets of which nobody knows what has changed."""

from __future__ import annotations

LOCKS_IN_FORCE = """
    SELECT item, sites, groups FROM locks WHERE removed_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    UNION ALL
    SELECT DISTINCT aside.dataset, CAST(NULL AS text), CAST(NULL AS text)
    FROM set_aside_datasets AS aside JOIN datasets AS known ON known.name = aside.dataset"""
"""SQL (item, sites, groups) of the locks that hold now: for plans (``inventory.replica.read``), and whenever something
is about to go (``lock.rows``). A dataset that is set aside, since its source told a bad record of it, is as if locked,
at all sites and for all groups."""
