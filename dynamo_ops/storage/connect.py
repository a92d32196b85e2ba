"""The storages of the sites, as the settings say they are spoken to."""

from __future__ import annotations

from dataclasses import replace

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.registry import SiteStorage, served, storages


def site_storages(database: Database, settings: Settings) -> SiteStorage:
    """Site id → its storage. ``SettingsError`` for a protocol that no plugin serves."""
    tls = settings.tls
    options = StorageOptions(
        ca=tls.authorities,
        cert=_text(tls.cert),
        key=_text(tls.key),
        managed_prefix=settings.managed_prefix,
        protocols=served(settings.protocols.own),
        more=settings.storages,
    )

    def at(site: str) -> StorageOptions:
        own = settings.deletion.at(site)
        return replace(
            options,
            threads=own.threads,
            calls_per_second=own.calls_per_s,
            connect_timeout=own.connect_timeout_s,
            read_timeout=own.read_timeout_s,
        )

    return storages(database, options, at)


def _text(path: object) -> str | None:
    return None if path is None else str(path)
