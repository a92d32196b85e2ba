"""Sites whose directories are one on this machine, by links or mounts that no endpoint tells of (SEMANTICS §10).

Asked where the deletion is made, right before each chunk: what another machine sees is nothing to go by.
"""

from __future__ import annotations

import logging

from sqlalchemy import text

from dynamo_ops.base.directory import Overlap
from dynamo_ops.database.connection import Database
from dynamo_ops.storage.protocol import SeesDirectories, Storage
from dynamo_ops.storage.registry import read_endpoints

log = logging.getLogger(__name__)

_DECLARED = """
    SELECT CASE site_id WHEN :site THEN other_id ELSE site_id END FROM shared_storages
    WHERE :site IN (site_id, other_id)"""


def objection(db: Database, site_id: int, storage: Storage) -> str | None:
    """Why nothing may be deleted through ``storage`` now: its directory is another site's too, and nobody declared
    that they share it; or one lies in the other. None: nothing is seen of that, or it is no directory."""
    if not isinstance(storage, SeesDirectories):
        return None
    protocol = storage.endpoint.protocol
    with db.begin() as connection:
        endpoints = read_endpoints(connection)
        declared = set(connection.execute(text(_DECLARED), {"site": site_id}).scalars())
    others = [
        of_site[protocol] for other_id, of_site in endpoints.items() if other_id != site_id and protocol in of_site
    ]
    for other in sorted(others, key=lambda endpoint: endpoint.site):
        how = storage.overlap(other)
        if how is None or (how is Overlap.SAME and other.site_id in declared):
            continue
        where = "is its directory as well" if how is Overlap.SAME else "and its directory have files in common"
        reason = f"that of {other.site} {where}, by links or mounts ({other.prefix}, {storage.endpoint.prefix})"
        log.warning("%s: nothing is deleted: %s", storage.endpoint.site, reason)
        return reason
    return None
