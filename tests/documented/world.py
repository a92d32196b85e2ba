"""The world of the docs: a small installation that has what the pages speak of, so that their commands can be typed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from dynamo_ops.base.errors import GateError
from dynamo_ops.configuration.new_installation import mark
from dynamo_ops.quality.suites.metadata import check_source
from dynamo_ops.quality.thresholds import MetadataThresholds
from tests import ROOT
from tests.documented.pages import blocks
from tests.documented.shell import Shell
from tests.inventory.factory import Inventory
from tests.inventory.told import block, dataset, file, site, stage, sync_sites

CASE = ROOT / "tests" / "golden" / "cases" / "k01_dealer"
DATASET = "/A/B-v1/AOD"
LOST = "/store/data/9.root"
PHYSICS = """Partition physics
On site.storage_type == DISK and site.status == READY
When site.occupancy > 0.85
Until site.occupancy < 0.5
Protect dataset.name == /Muons/*
Dismiss
Order increasing replica.size
"""
FTS = "https://fts.example.org:8446"
OLD_FTS = "https://fts-old.example.org:8446"
DEALER = {
    "partition": "physics",
    "group": "physics",
    "target_sites": ["T2_*"],
    "target_site_occupancy": 0.9,
    "max_site_pending_fraction": 0.9,
    "max_total_cycle_volume": 1,
    "plugins": {"requests": {"priority": 1}, "enforcer": {"priority": 2}},
}
RULES = {
    "rules": {
        "two": {
            "num_copies": 2,
            "destinations": ["site.name in [T2_B T2_X]"],
            "sources": ["site.name == T2_A"],
            "replicas": ["dataset.name == /A/*"],
        }
    }
}


def make_home(home: Path) -> str:
    """The shipped configuration with a policy, a Dealer and rules for the few datasets there are, as DYNAMO_HOME."""
    config = home / "config"
    shutil.copytree(ROOT / "include" / "config", config)
    (config / "dynamo.yaml").write_text(
        yaml.safe_dump({"fts": {"url": FTS, "monitor_url": "https://fts.example.org:8449/fts3/ftsmon/#/job/"}})
    )
    gates = yaml.safe_load((config / "gates.yaml").read_text())
    gates["detox"] |= {"max_site_fraction": 1.0}
    (config / "gates.yaml").write_text(yaml.safe_dump(gates))
    (config / "dealer" / "physics.yaml").write_text(yaml.safe_dump(DEALER))
    (config / "enforcer" / "physics.yaml").write_text(yaml.safe_dump(RULES))
    shutil.copytree(ROOT / "include" / "policies", home / "policies")
    mark(home, config=str(config), policies="policies")
    return str(home)


def fill(stock: Inventory) -> None:
    """Four sites, two groups, and a dataset of two blocks at two of the sites, which fills one of them."""
    stock.group_id = stock.scalar(
        "INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset') RETURNING id"
    )
    stock.site("T1_TAPE", "mss")
    for name, quota in (("T2_A", 4500), ("T2_B", 10_000), ("T2_C", 1500)):
        stock.site(name)
        set_quota(stock, name, quota)
    for name in ("b1", "b2"):
        stock.block(name)
        for at in ("T2_A", "T2_B"):
            stock.replica(name, at)
    stock.rows("UPDATE block_replicas SET last_update_at = :t", t=datetime.now(UTC) - timedelta(days=100))


def set_quota(stock: Inventory, at: str, size_bytes: int) -> None:
    """Of the partition physics."""
    stock.rows(
        "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'physics', :q, 'docs')",
        s=stock.site_ids[at],
        q=size_bytes,
    )


# -- what single pages speak of besides --------------------------------------------------------------------------------


def _readme(stock: Inventory, folder: Path, shell: Shell) -> None:
    """A checkout without any installation."""
    for variable in ("DYNAMO_HOME", "DYNAMO_DB_URL"):
        shell.patch.delenv(variable)


def _detox(stock: Inventory, folder: Path, shell: Shell) -> None:
    """The two policies of *What if*, and one that asks for no attributes, which nobody has produced."""
    (Path(os.environ["DYNAMO_HOME"]) / "policies" / "physics.txt").write_text(PHYSICS)
    today = (CASE / "detox" / "Physics" / "policy.txt").read_text()
    (folder / "today.txt").write_text(today)
    changed = today.replace("> 0.9", "> 0.65").replace("< 0.85", "< 0.6")
    (folder / "new.txt").write_text(
        changed.replace("common_owner < 2", "common_owner < 2 and dataset.name != /Last/T2_C-4*")
    )


def _dealer(stock: Inventory, folder: Path, shell: Shell) -> None:
    """Room at a third site, a request, and the plan that was made for it."""
    stock.rows("UPDATE quotas SET quota_bytes = 20000 WHERE site_id = :s", s=stock.site_ids["T2_C"])
    typed(shell, f"dynamo request copy {DATASET} --site T2_B --site T2_C --group physics --copies 2")
    stock.site("T2_X")
    set_quota(stock, "T2_X", 1000)
    typed(shell, "dynamo dealer plan physics --store --seed 5")


def _gates(stock: Inventory, folder: Path, shell: Shell) -> None:
    """Five hours of metadata; in the last one most files were missing, and one was smaller than nothing."""
    name = "/Muons/Run2026A-v1/AOD"
    for hour, num_files in enumerate((40, 42, 41, 55, 12), start=1):
        key = f"metadata_sync/scheduled__{hour}"
        files = [file(f"/store/m/{n}.root", of=name) for n in range(num_files)]
        files[0]["size_bytes"] = -10 if hour == 5 else 10
        stage(stock.db, [dataset(name)], [block(of=name)], files, run_key=key)
        with suppress(GateError):
            check_source(stock.db, key, "dbs", MetadataThresholds(), datetime(2026, 3, 1, hour, tzinfo=UTC))


def _injection(stock: Inventory, folder: Path, shell: Shell) -> None:
    """The documents of the page as files, the sites that a feed tells of, and what is lost."""
    sync_sites(stock.db, site("T1_XX_MSS", storage_type="mss"), site("T2_YY"))
    (injected,) = blocks("json inject", page="injection.md")
    (folder / "replicas.json").write_text(injected.text)
    (invalidated,) = blocks("json invalidate", page="injection.md")
    (folder / "lost.json").write_text(invalidated.text)
    others = [
        {"name": "/Jets/Run2026A-v1/AOD", "blocks": [{"name": "b7", "files": []}]},
        {"name": "/Tops/Run2026A-v1/AOD", "blocks": [{"name": "b1", "files": [{"lfn": LOST, "size_bytes": 9}]}]},
    ]
    (folder / "others.json").write_text(json.dumps({"datasets": others}))
    typed(shell, "dynamo inject others.json")


def _metadata(stock: Inventory, folder: Path, shell: Shell) -> None:
    stock.rows(
        "INSERT INTO vanished (source, kind, name, size_bytes) VALUES ('dbs', 'block', :n, 2000)", n=f"{DATASET}#b2"
    )


def _operating(stock: Inventory, folder: Path, shell: Shell) -> None:
    stock.site("T2_HH")


def _quotas(stock: Inventory, folder: Path, shell: Shell) -> None:
    stock.site("T2_X")


def _transfers(stock: Inventory, folder: Path, shell: Shell) -> None:
    """Copies: one that failed for good, four that are staged, four that are done, four that wait, one that is being put
    onto tape, its job at a server that has moved."""
    stock.site("T2_A_Temp", prefix="davs://t2_a.invalid:443/dav")
    stock.block("p1", 1, sizes=[500])
    stock.block("p2", 4, sizes=[507] * 4)
    for name in ("p3", "p4", "p5", "p6"):
        stock.block(name)
    for name, at in (("p1", "T2_A"), ("p2", "T1_TAPE"), ("p3", "T2_A"), ("p4", "T2_B"), ("p5", "T2_B"), ("p6", "T2_C")):
        stock.replica(name, at)
    for name, at in (("p1", "T2_B"), ("p2", "T2_B"), ("p4", "T2_A"), ("p5", "T2_A")):
        stock.replica(name, at, present=[])
    for name, to, origin in (
        ("p1", "T2_B", "dealer"),
        ("p2", "T2_B", "request 7"),
        ("p3", "T2_B", "dealer"),
        ("p6", "T2_B", "dealer"),
        ("p4", "T2_A", "dealer"),
        ("p5", "T2_A", "dealer"),
        ("p3", "T1_TAPE", "dealer"),
    ):
        stock.subscription("copy", stock.files_of[name], to, origin)
    missing = "SOURCE [2] Failed to stat file (No such file or directory)"
    attempted(stock, "T2_B", {1: "failed"}, of="T2_A", reason=missing)
    attempted(stock, "T2_B", dict.fromkeys(range(2, 6), "staging"), of="T1_TAPE")
    attempted(stock, "T2_B", dict.fromkeys((6, 7), "done"), of="T2_A")
    attempted(stock, "T2_B", dict.fromkeys((8, 9), "done"), of="T2_C")
    attempted(stock, "T1_TAPE", dict.fromkeys((14, 15), "active"), of="T2_A", server=OLD_FTS)
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed' WHERE id = 1")
    stock.rows("UPDATE subscriptions SET created_at = now() - interval '5 h' WHERE id < 10")


def attempted(
    stock: Inventory, to: str, states: dict[int, str], *, of: str, reason: str | None = None, server: str = FTS
) -> None:
    """A batch with an attempt at each of these subscriptions, in the state that is said; so are the subscriptions."""
    is_open = not {"failed", "done"} & set(states.values())
    batch_id = stock.scalar(
        """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, server, submitted_at, finished_at)
           VALUES (CAST(gen_random_uuid() AS text), gen_random_uuid(), :site, :staging, :state, :server, now(),
                   CASE WHEN :state = 'finished' THEN now() END) RETURNING id""",
        site=stock.site_ids[to],
        staging="staging" in states.values(),
        state="submitted" if is_open else "finished",
        server=server,
    )
    for number, (subscription_id, state) in enumerate(states.items()):
        stock.rows(
            """WITH attempt AS (
                 INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable,
                                        blame, reason, size_bytes, started_at, finished_at)
                 SELECT :batch, s.id, :n, :source, :state, CASE WHEN :state = 'failed' THEN false END,
                        CASE WHEN :state = 'failed' THEN 'file' END, :reason,
                        f.size_bytes, now(), CASE WHEN :state <> 'staging' THEN now() END
                 FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE s.id = :subscription)
               UPDATE subscriptions SET state = CASE WHEN :state = 'done' THEN 'done' ELSE 'inbatch' END,
                                        num_attempts = 1, updated_at = now() WHERE id = :subscription""",
            batch=batch_id,
            n=number,
            source=stock.site_ids[of],
            state=state,
            reason=reason,
            subscription=subscription_id,
        )


def typed(shell: Shell, line: str) -> None:
    """A command that the world is made by."""
    ended = shell.run(line, "y\n")
    assert ended.code == 0, (line, ended)


ADDITIONS: dict[str, Callable[[Inventory, Path, Shell], None]] = {
    "README.md": _readme,
    "dealer.md": _dealer,
    "detox.md": _detox,
    "gates.md": _gates,
    "injection.md": _injection,
    "metadata.md": _metadata,
    "operating.md": _operating,
    "quotas.md": _quotas,
    "transfers.md": _transfers,
}
"""Page → what it speaks of besides."""
