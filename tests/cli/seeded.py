"""A small installation of which every command has something to show, and the entry point as a shell calls it."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import pytest
import yaml
from typer.testing import CliRunner

from dynamo_ops.base.errors import GateError
from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.quality.suites.sites import check_sites
from dynamo_ops.quality.thresholds import SiteThresholds
from tests import ROOT
from tests.installation import installed
from tests.inventory.factory import SIZE, Inventory
from tests.inventory.told import site, stage_sites

TEMPLATE = "walk_template"
COPY = "walk_copy"
DATASET = "/A/B-v1/AOD"
LONG = "/" + "VeryLongPrimaryDatasetName" * 3 + "/Run2026A-22Nov2026_ThirdReprocessing-v1/RAW-AOD-DQMIO"
LIKE_MARKUP = "/[red]Zero/Run-v1[/red]/[bold]AOD"
DEALER = {
    "partition": "all",
    "group": "ops",
    "target_sites": ["T2_*"],
    "target_site_occupancy": 0.9,
    "max_site_pending_fraction": 0.9,
    "max_total_cycle_volume": 1,
    "plugins": {"requests": {"priority": 1}, "enforcer": {"priority": 2}},
}
RULES = (
    "rules: {two: {num_copies: 2, destinations: [site.name == T2_*], sources: [site.name == T2_A],"
    " replicas: ['dataset.name == /A/*']}}"
)
POLICY = """Partition all
On site.status == READY
When site.occupancy > 0.5
Until site.occupancy < 0.4
Protect dataset.name == /Very*
Dismiss
Order increasing replica.size
"""
POLICY_TEST = """now: 2026-03-01
owner: ops
groups: {ops: dataset}
sites: {T2_A: {occupancy: 0.95}}
tests:
  - name: What is dismissed goes where it is full
    datasets: {/A/Run1-v1/AOD: {replicas: [T2_A]}}
    expect: delete by Dismiss
"""
FTS = "https://fts.example.org:8446"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote where."""

    code: int
    out: str
    err: str


def make_home(home: Path) -> None:
    """The files of an installation, with a JSON document to hand in and a policy that is wrong."""
    installed(home, home / "config")
    for name in ("config/dealer", "config/enforcer", "policies"):
        (home / name).mkdir(parents=True)
    config = home / "config"
    (config / "dynamo.yaml").write_text(yaml.safe_dump({"fts": {"url": FTS}}))
    (config / "partitions.txt").write_text("all: dataset.name == /*/*/*\n")
    shipped = yaml.safe_load((ROOT / "include" / "config" / "gates.yaml").read_text())
    shipped["detox"] |= {"max_site_fraction": 1.0}
    (config / "gates.yaml").write_text(yaml.safe_dump(shipped))
    (config / "consistency.yaml").write_text("")
    (config / "dealer" / "all.yaml").write_text(yaml.safe_dump(DEALER))
    (config / "enforcer" / "all.yaml").write_text(RULES)
    (home / "policies" / "all.txt").write_text(POLICY)
    (home / "policies" / "all.test.yaml").write_text(POLICY_TEST)
    (home / "document.json").write_text(json.dumps({"datasets": [DATASET]}))
    (home / "new.json").write_text(
        json.dumps({"sites": [{"name": "T2_NEW", "storage_type": "disk", "status": "ready"}]})
    )
    unknown = {"datasets": ["/A/B-v1/AOE"], "blocks": [f"{DATASET}#b"], "files": [DATASET]}
    (home / "unknown.json").write_text(json.dumps(unknown))
    (home / "wrong.txt").write_text("Partition all\nDeleet dataset.name == /A/*\n")


def fill(db: Database) -> None:
    """Two sites with three datasets, one whose name looks like markup; subscriptions, a downtime, a lock, gates."""
    stock = Inventory(db)
    for name, quota in (("T2_A", 10 * SIZE), ("T2_B", -1), ("T2_C_With_A_Long_Name", 50 * SIZE)):
        stock.site(name)
        stock.rows(
            "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'all', :q, 'test')",
            s=stock.site_ids[name],
            q=quota,
        )
    first = stock.dataset_id
    for name, blocks in ((DATASET, ("b1", "b2")), (LONG, ("c1",)), (LIKE_MARKUP, ("d1",))):
        stock.dataset_id = first
        if name != DATASET:
            stock.dataset_id = stock.scalar(
                "INSERT INTO datasets (name, status, is_open, last_update_at) VALUES (:n, 'valid', false, now())"
                " RETURNING id",
                n=name,
            )
        for block in blocks:
            stock.block(block, 2)
            for at in ("T2_A", "T2_B"):
                stock.replica(block, at)
    old = datetime.now(UTC) - timedelta(days=100)
    stock.rows("UPDATE block_replicas SET last_update_at = :t", t=old)
    stock.subscription("copy", stock.files_of["c1"], "T2_C_With_A_Long_Name", origin="dealer")
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed', num_attempts = 1 WHERE id = 1")
    stock.rows("INSERT INTO vanished (source, kind, name, size_bytes) VALUES ('dbs', 'dataset', :n, 2000)", n=LONG)
    stock.rows("""INSERT INTO set_aside_datasets (source, dataset, reason, is_of_record, until, first_at, run_key)
                  VALUES ('dbs', '/New/R-v1/AOD', 'files: record 7: size_bytes is big', false, now(), now(), 'r')""")
    stock.rows(
        "UPDATE site_endpoints SET proposed_prefix = 'davs://moved.invalid:443/dav', proposed_at = now()"
        " WHERE site_id = :s",
        s=stock.site_ids["T2_C_With_A_Long_Name"],
    )
    for hour in range(2):
        key = f"metadata_sync/scheduled__{hour}"
        stage_sites(db, *(site(f"T2_{letter}") for letter in "ABCD"), run_key=key)
        with suppress(GateError):
            check_sites(db, key, "cric", SiteThresholds(), datetime(2026, 3, 1, hour, tzinfo=UTC))


def _by_commands() -> None:
    """What commands make: plans, a lock, requests, downtimes, a status by hand, a quota's history, an invalidation."""
    for words in (
        ["request", "copy", LONG, "--site", "T2_C*", "--group", "ops"],
        ["detox", "plan", "all", "--store"],
        ["detox", "plan", "all", "--store"],
        ["access", "grant", "ada", "site_admin", "--scope", "site:T2_*", "--reason", "she looks after [red]them[/red]"],
        ["access", "member", "ops", "bob"],
        ["token", "make", "weekly", "--person", "bob", "--role", "site_admin@site:T2_A"],
        ["dealer", "plan", "all", "--store", "--seed", "5"],
        ["lock", "add", LIKE_MARKUP, "--reason", "[red]thesis[/red] of somebody " + "with much to say " * 8],
        ["request", "delete", f"{DATASET}#b1", "--site", "T2_B", "--reason", "no room " * 20, "--yes"],
        ["site", "drain", "T2_B", "--reason", "new disks " * 12, "--from", "3d", "--until", "9d"],
        ["site", "set", "T2_A", "ready", "--reason", "[bold]it is[/bold] " + "mended " * 12],
        ["stop", "metadata", "--reason", "[red]the source[/red] is being moved " * 6],
        ["event", "subscribe", "request.*", "plan.waits", "--group", "ops", "--mail", "ops@example.org"],
        ["replica", "suspicious", "T2_B", "/store/d1/f1", "--reason", "[red]reads[/red] end early " * 6],
        ["quota", "set", "T2_A", "all", "9kB", "--reason", "agreed " * 12, "--yes"],
    ):
        ended = CliRunner().invoke(main.app, words)
        assert ended.exit_code == 0, (words, ended.output, ended.exception)


@pytest.fixture(scope="module")
def seeded_home(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the installation; its database is the template ``TEMPLATE``."""
    home = tmp_path_factory.mktemp("walk")
    make_home(home)
    postgres.create_database(TEMPLATE, template="dynamo_template")
    database = Database(postgres.url(TEMPLATE))
    fill(database)
    with pytest.MonkeyPatch.context() as patch:
        _environment(patch, home, database.url)
        _by_commands()
    database.dispose()
    settings.cache_clear()
    _close_connections(postgres)
    yield home
    postgres.drop_database(TEMPLATE)


def _close_connections(postgres: EmbeddedPostgres) -> None:
    """A database that is used cannot be copied; commands leave their connections to the end of their process."""
    server = Database(postgres.url("postgres"))
    server.frame("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1", (TEMPLATE,))
    server.dispose()


@pytest.fixture
def seeded(seeded_home: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The installation with a database of this test's own; returns its home, where the test is."""
    with copied(seeded_home, postgres, monkeypatch):
        yield seeded_home


@contextmanager
def copied(home: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The installation of ``home``, where one is meanwhile, with a database as it was when it was filled."""
    postgres.create_database(COPY, template=TEMPLATE)
    _environment(monkeypatch, home, postgres.url(COPY))
    monkeypatch.chdir(home)
    yield
    postgres.drop_database(COPY)
    settings.cache_clear()


def _environment(patch: pytest.MonkeyPatch, home: Path, url: str) -> None:
    patch.setenv("DYNAMO_HOME", str(home))
    patch.setenv("DYNAMO_CONFIG_DIR", str(home / "config"))
    patch.setenv("DYNAMO_POLICY_DIR", str(home / "policies"))
    patch.setenv("DYNAMO_DB_URL", url)
    patch.setenv("PAGER", "cat")
    settings.cache_clear()


def piped(*words: str) -> Ended:
    """The entry point, with its output in a pipe that is read."""
    out = io.StringIO()
    code, err = _run(words, out)
    return Ended(code, out.getvalue(), err)


def on_terminal(*words: str, columns: int = 80) -> Ended:
    """The entry point on a terminal of so many columns."""
    with pytest.MonkeyPatch.context() as patch, _terminal() as (terminal, text):
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("LINES", "50")
        code, err = _run(words, terminal)
        terminal.close()
        return Ended(code, text().replace("\r\n", "\n"), err)


def to_nobody(*words: str) -> Ended:
    """The entry point, with its output in a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        code, err = _run(words, out)
    return Ended(code, "", err)


def _run(words: tuple[str, ...], out: TextIO) -> tuple[int, str]:
    err = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dynamo", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            main.run()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), err.getvalue()


@contextmanager
def _terminal() -> Iterator[tuple[TextIO, object]]:
    ours, theirs = pty.openpty()
    chunks: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                return
            chunks.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()

    def text() -> str:
        reader.join()
        return b"".join(chunks).decode()

    terminal = os.fdopen(theirs, "w")
    try:
        yield terminal, text
    finally:
        if not terminal.closed:
            terminal.close()
        reader.join()
        os.close(ours)
