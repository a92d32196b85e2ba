"""What is in an executor's hands at this moment, as SQL: copies that may be written, deletions not yet answered."""

from __future__ import annotations

OPEN_DELETIONS = """(SELECT w.file_id, w.site_id FROM deletion_batches b JOIN deletions d ON d.batch_id = b.id
    JOIN subscriptions w ON w.id = d.subscription_id WHERE b.state = 'planned' AND d.state = 'planned')"""
"""Deletions handed out and not yet answered, whether or not they are still wished for."""

OPEN_TRANSFERS = """(SELECT w.file_id, w.site_id, t.source_site_id, t.other_source_site_ids
    FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id JOIN subscriptions w ON w.id = t.subscription_id
    WHERE b.state IN ('planned', 'submitted') AND t.state IN ('planned', 'submitted', 'staging', 'active'))"""
"""Copies that FTS may be making at this moment, whether or not they are still wished for."""
