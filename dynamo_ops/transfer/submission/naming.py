"""Under which PFNs FTS is asked for the files of a batch: what does not get through by its name is known before.

A file goes by the first protocol that both sites speak and by which its name gets through unchanged (``fts.url``);
where none does, that file alone is not copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.fts.url import fts_url
from dynamo_ops.inventory.site.mapping import Endpoint

SiteEndpoints = Mapping[int, Mapping[str, Endpoint]]
"""By site id and protocol."""


@dataclass(frozen=True)
class Naming:
    """How one file is asked for, by PFNs that get through. ``others``: further sources, by site id, all of one
    protocol."""

    source: str
    destination: str
    others: Mapping[int, str]


def name_file(
    lfn: str,
    source_id: int,
    destination_id: int,
    other_ids: Sequence[int],
    endpoints: SiteEndpoints,
    protocols: Sequence[str],
    *,
    is_staging: bool = False,
) -> Naming:
    """The PFNs of a file at its source, its destination and further sources, as ``fts.job`` takes them.

    ``protocols``: by preference. InventoryError, with what each of them says, where no protocol that both sites speak
    carries the name.
    """
    here, there = endpoints.get(source_id, {}), endpoints.get(destination_id, {})
    reasons = []
    for protocol in protocols:
        if protocol not in here or protocol not in there:
            continue
        try:
            source = _passing(here[protocol].pfn(lfn), is_staging=is_staging)
            destination = _passing(there[protocol].pfn(lfn), is_staging=is_staging)
        except InventoryError as error:
            reasons.append(error.message)
            continue
        return Naming(source, destination, _others(lfn, other_ids, endpoints, protocol, is_staging=is_staging))
    if reasons:
        raise InventoryError("; ".join(dict.fromkeys(reasons)), lfn=lfn)
    raise InventoryError(f"sites {source_id} and {destination_id} share none of the protocols {list(protocols)}")


def _others(
    lfn: str, other_ids: Sequence[int], endpoints: SiteEndpoints, protocol: str, *, is_staging: bool
) -> dict[int, str]:
    pfns = {}
    for site_id in other_ids:
        other = endpoints.get(site_id, {}).get(protocol)
        with suppress(InventoryError):  # a site that has no name for the file is no alternative
            if other is not None:
                pfns[site_id] = _passing(other.pfn(lfn), is_staging=is_staging)
    return pfns


def _passing(pfn: str, *, is_staging: bool) -> str:
    """The PFN; InventoryError where FTS would not ask for that file."""
    fts_url(pfn, is_staging=is_staging)
    return pfn
