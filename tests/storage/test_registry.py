"""Storage plugins: ours and others', by protocol."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.storage import registry
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.webdav import WebDavStorage
from tests.inventory.factory import Inventory


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, "dynamo_ops.storage.webdav:WebDavStorage", registry.GROUP) for name in ("davs", "https")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])


@pytest.mark.usefixtures("declared")
def test_first_protocol_that_the_site_has_and_a_plugin_serves(inventory: Inventory) -> None:
    site_id = inventory.site("T2_A", prefix="davs://a.invalid/x")
    inventory.rows(
        "INSERT INTO site_endpoints (site_id, protocol, prefix, mapping) VALUES "
        "(:s, 'https', '', CAST(:m AS jsonb)), (:s, 'root', 'root://a', NULL)",
        s=site_id,
        m='[[["/store/(.*)", "https://a.invalid/$1"]]]',
    )
    storage = registry.open_storage(inventory.db, site_id, StorageOptions())
    assert isinstance(storage, WebDavStorage)
    assert storage.endpoint.pfn("/store/f") == "davs://a.invalid/x/store/f"
    other = registry.storages(inventory.db, StorageOptions(protocols=("root", "https")))(site_id)
    assert other.endpoint.pfn("/store/f") == "https://a.invalid/f"


def test_plugin_whose_package_is_not_installed_is_named() -> None:
    point = EntryPoint("s4", "no_such_package.s4:S4Storage", registry.GROUP)
    with pytest.raises(SettingsError, match=r"'s4' cannot be loaded: No module named 'no_such_package'"):
        registry.load_plugin(point)


@pytest.mark.usefixtures("declared")
def test_no_plugin_for_the_site(inventory: Inventory) -> None:
    site_id = inventory.site("T2_A")
    with pytest.raises(SettingsError, match="no storage plugin"):
        registry.open_storage(inventory.db, site_id, StorageOptions(protocols=("root",)))
