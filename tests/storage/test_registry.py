"""Storage plugins: ours and others', by protocol."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from dynamo_ops.base.errors import InventoryError, SettingsError
from dynamo_ops.base.settings import DeletionSettings, ProtocolSettings, Settings, SiteDeletions
from dynamo_ops.storage import registry
from dynamo_ops.storage.connect import site_storages
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.webdav import WebDavStorage
from dynamo_ops.transfer.submission.limits import TransferLimits, transfer_limits
from dynamo_ops.transfer.tasks import plan_rules
from tests.inventory.factory import Inventory


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, "dynamo_ops.storage.webdav:WebDavStorage", registry.GROUP) for name in ("davs", "https")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("prefix", ["http://a.invalid/x", "davs://me:pw@a.invalid/x", "davs://a.invalid/x?token=1"])
def test_an_endpoint_that_was_stored_before_such_were_refused_is_not_opened(inventory: Inventory, prefix: str) -> None:
    site_id = inventory.site("T2_A", prefix=prefix)
    with pytest.raises(InventoryError, match="site T2_A: its davs endpoint cannot be used: the prefix"):
        registry.open_storage(inventory.db, site_id, StorageOptions())


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
    assert storage._hosts.names == {"a.invalid", "a"}
    other = registry.storages(inventory.db, StorageOptions(protocols=("root", "https")))(site_id)
    assert other.endpoint.pfn("/store/f") == "https://a.invalid/f"


@pytest.mark.usefixtures("declared")
def test_how_hard_a_storage_may_be_pressed_can_differ_by_site(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, StorageOptions] = {}
    monkeypatch.setattr(registry, "load_plugin", lambda _: lambda at, options: given.setdefault(at.site, options))
    protocols = ProtocolSettings(own=("davs", "https"))
    deletion = DeletionSettings(threads=4, sites={"T3_*": SiteDeletions(threads=1, calls_per_s=0.5)})
    open_storage = site_storages(inventory.db, Settings(deletion=deletion, protocols=protocols))
    for site in ("T2_A", "T3_B"):
        open_storage(inventory.site(site, prefix=f"davs://{site}.invalid/x"))
    assert {site: (options.threads, options.calls_per_second) for site, options in given.items()} == {
        "T2_A": (4, 200),
        "T3_B": (1, 0.5),
    }


def test_plugin_whose_package_is_not_installed_is_named() -> None:
    point = EntryPoint("s4", "no_such_package.s4:S4Storage", registry.GROUP)
    with pytest.raises(SettingsError, match=r"'s4' cannot be loaded: No module named 'no_such_package'"):
        registry.load_plugin(point)


@pytest.mark.usefixtures("declared")
def test_no_plugin_for_the_site(inventory: Inventory) -> None:
    site_id = inventory.site("T2_A")
    with pytest.raises(SettingsError, match="no storage plugin"):
        registry.open_storage(inventory.db, site_id, StorageOptions(protocols=("root",)))


def test_what_the_settings_name_is_served_or_said_to_be_unknown(inventory: Inventory) -> None:
    shipped = Settings()
    assert registry.served(shipped.protocols.own) == StorageOptions().protocols
    assert transfer_limits(shipped).protocols == TransferLimits().protocols
    wrong = Settings(protocols=ProtocolSettings(own=("dvas",), fts=("root", "davs")))
    with pytest.raises(SettingsError, match=r"protocols\.own: no storage plugin 'dvas'.*Did you mean dav"):
        site_storages(inventory.db, wrong)
    assert transfer_limits(wrong).protocols == ("root", "davs")


def test_the_order_of_the_settings_decides(inventory: Inventory) -> None:
    site_id = inventory.site("T2_A")
    inventory.rows("INSERT INTO site_endpoints (site_id, protocol, prefix) VALUES (:s, 'file', 'file:///d')", s=site_id)
    for own in (("file", "davs"), ("davs", "file")):
        known = Settings(protocols=ProtocolSettings(own=own))
        assert site_storages(inventory.db, known)(site_id).endpoint.protocol == own[0]
        assert plan_rules(known).direct_protocols == own
