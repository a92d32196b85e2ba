"""Which storage serves a site: its endpoints in the inventory, and the plugin for the preferred protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import MANAGED_PREFIX
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.mapping import Endpoint, parse_chains
from dynamo_ops.storage.protocol import Storage, StorageFactory, StorageOptions

GROUP = "dynamo_ops.storages"
SiteStorage = Callable[[int], Storage]  # site id → its storage
OptionsAtSite = Callable[[str], StorageOptions]
"""By the name of a site."""


def plugins() -> dict[str, EntryPoint]:
    """Every registered storage plugin, by protocol; not loaded."""
    return {point.name: point for point in entry_points(group=GROUP)}


def served(protocols: Sequence[str]) -> tuple[str, ...]:
    """``protocols`` themselves, if a plugin is registered for each; else ``SettingsError`` with near names."""
    registered = plugins()
    for protocol in protocols:
        if protocol not in registered:
            raise SettingsError(
                f"protocols.own: no storage plugin {protocol!r}; there are {', '.join(sorted(registered))}."
                f"{near(protocol, registered)}",
                key="protocols.own",
                reason=f"no storage plugin {protocol!r}",
            )
    return tuple(protocols)


def load_plugin(point: EntryPoint) -> StorageFactory:
    """The plugin itself. ``SettingsError`` when what it needs is not installed."""
    try:
        factory: StorageFactory = point.load()
    except ImportError as error:
        raise SettingsError(
            f"storage plugin {point.name!r} cannot be loaded: {error}", key="protocols.own", reason=str(error)
        ) from error
    return factory


def read_endpoints(connection: Connection, managed_prefix: str = MANAGED_PREFIX) -> dict[int, dict[str, Endpoint]]:
    """The endpoints of all sites, by site id and protocol."""
    rows = connection.execute(
        text(
            "SELECT s.id, s.name, e.protocol, e.prefix, e.mapping FROM sites s "
            "JOIN site_endpoints e ON e.site_id = s.id"
        )
    )
    endpoints: dict[int, dict[str, Endpoint]] = {}
    for site_id, name, protocol, prefix, mapping in rows:
        endpoints.setdefault(site_id, {})[protocol] = Endpoint(
            name, protocol, prefix, parse_chains(_decoded(mapping)), managed_prefix, site_id
        )
    return endpoints


def _decoded(mapping: Any) -> Any:
    return json.loads(mapping) if isinstance(mapping, str) else mapping


def open_storage(db: Database, site_id: int, options: StorageOptions, at: OptionsAtSite | None = None) -> Storage:
    """The storage of a site by the first of ``options.protocols`` that the site has and a plugin serves.

    ``at``: the options at a site, by its name, where they differ. ``SettingsError`` when there is no such protocol,
    ``InventoryError`` when its endpoint has another scheme, a password or a query, as one that was stored long ago may.
    """
    with db.begin() as connection:
        endpoints = read_endpoints(connection, options.managed_prefix).get(site_id, {})
    points = plugins()
    for protocol in options.protocols:
        if protocol in endpoints and protocol in points:
            endpoint = endpoints[protocol]
            endpoint.check()
            own = at(endpoint.site) if at else options
            hosts = frozenset[str]().union(*(other.hosts for other in endpoints.values()))
            return load_plugin(points[protocol])(endpoint, replace(own, site_hosts=hosts))
    raise SettingsError(
        f"site {site_id}: no storage plugin for its protocols {sorted(endpoints)}; plugins: {sorted(points)}, "
        f"allowed: {list(options.protocols)}",
        key="protocols.own",
        reason="no common protocol",
    )


def storages(db: Database, options: StorageOptions, at: OptionsAtSite | None = None) -> SiteStorage:
    """A function from site id to an opened storage: what deletions and consistency take."""
    return lambda site_id: open_storage(db, site_id, options, at)
