"""Which FTS server a link goes to now, and how many more files each server is given."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, text

from dynamo_ops.base.patience import Illness
from dynamo_ops.fts.servers import FtsLinks
from dynamo_ops.inventory.states import LIVE_TRANSFERS, OPEN_BATCHES, ServerIllness
from dynamo_ops.transfer.server.health import ill_servers


def shared_out(connection: Connection, links: FtsLinks, illness: Illness) -> FtsLinks:
    """The links as they are served now: without servers that are ill, where another takes the link, and with the files
    that each may still be given (``room``).

    One that refuses or stands still, and has nothing to try it with, is ``on_trial`` with a few files
    (``illness.probe_files``): else nobody would see that it is well again.
    """
    limits = {server.address: server.files_in_flight for server in links.servers if server.files_in_flight is not None}
    ill = {address: state for address, state in ill_servers(connection).items() if state.illness != ServerIllness.AWAY}
    if not limits and not ill:
        return links
    under_way: dict[str, int] = {}
    if limits:
        under_way = dict(connection.execute(text(_UNDER_WAY), {"addresses": list(limits)}).tuples().all())
    room: dict[str | None, int] = {
        address: max(0, limit - under_way.get(str(address), 0)) for address, limit in limits.items()
    }
    return replace(
        links,
        left_out=frozenset(address for address, state in ill.items() if state.is_tried),
        on_trial={address: illness.probe_files for address, state in ill.items() if not state.is_tried},
        room=room,
    )


_UNDER_WAY = f"""
    SELECT batch.server, count(*) FROM transfer_batches AS batch JOIN transfers AS copy ON copy.batch_id = batch.id
    WHERE batch.server = ANY(CAST(:addresses AS text[])) AND batch.state IN {OPEN_BATCHES}
      AND copy.state IN {LIVE_TRANSFERS}
    GROUP BY batch.server"""
