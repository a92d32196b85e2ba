"""The catalogue over REST: its datasets, what documents tell it, how much it knows in all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dynamo_ops.cli.afar.server import Afar, delete, errand, get, plain, post, rows, server, whole
from dynamo_ops.cli.terminal.document import read_document
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.inventory.kinds import CatalogueKind

SET_ASIDE = ("dataset", "source", "reason", "first_at", "last_at", "until", "num_runs", "run_key", "is_known")
VANISHED = ("kind", "name", "source", "size_bytes", "vanished_at")
KINDS = list(CatalogueKind)


def found(
    names: Sequence[str],
    *,
    statuses: Sequence[str],
    releases: Sequence[str],
    sites: Sequence[str],
    groups: Sequence[str],
    is_open: bool | None,
    larger: int | None,
    since: str | None,
) -> Listed:
    """Datasets by name. ``larger``: bytes."""
    asked = {"name": names, "status": statuses, "release": releases, "site": sites, "group": groups, "open": is_open}
    return Afar("/datasets", {**asked, "larger": larger, "updated_since": since})


def card(name: str) -> Record:
    """All about one."""
    return get(f"/datasets/{server().dataset_id(name)}")


def replicas(dataset: str, block: str, *, sites: Sequence[str], groups: Sequence[str], complete: bool | None) -> Listed:
    """Where it is; of a ``block`` of it, if that is given."""
    level = "block" if block else "dataset"
    asked = {"dataset": dataset, "block": block or None, "site": sites, "group": groups, "complete": complete}
    return Afar("/replicas", {**asked, "level": level})


def files(dataset: str, block: str, *, lfns: Sequence[str]) -> Listed:
    """Its files; of a ``block`` of it, if that is given."""
    return Afar(f"/datasets/{server().dataset_id(dataset)}/files", {"block": block or None, "lfn": lfns})


def is_file(name: str) -> bool:
    """Whether there is a file of this very name."""
    return bool(whole("/files", lfn=name))


def located(lfns: Sequence[str], dataset: str | None, *, protocols: Sequence[str]) -> Records:
    """Files with sites and PFNs: those named, or those of a dataset (``dataset#block``)."""
    if dataset is not None:
        return whole("/replicas/locate", dataset=dataset, protocol=protocols)
    return [plain(row) for row in server().locate(list(lfns), protocols=protocols)]


def inject(file: str, *, dry_run: bool, by: str | None, tell: Callable[[str], None]) -> Record:
    """All of what is in a file, or nothing. ``tell`` is called with what is done next."""
    tell(f"reading {file}")
    document = read_document(file)
    tell("sending it")
    return _told("/injections", document, "the injection", by=by, dry_run=dry_run)


def invalidate(
    document: object, *, reason: str, by: str | None, dry_run: bool = False, expected_files: int | None = None
) -> Record:
    """What it names leaves the inventory for good."""
    body = {"document": document, "reason": reason, "expected_files": expected_files}
    return _told("/invalidations", body, "the invalidation", by=by, dry_run=dry_run)


def undo(
    names: Sequence[str], *, reason: str, by: str | None, dry_run: bool = False, expected_names: int | None = None
) -> Record:
    """What was declared invalid by these names or globs may come in again."""
    asked = {"name": names, "reason": reason, "expected_names": expected_names}
    return delete("/invalidations", by=by, dry_run=dry_run, **asked)


def call(state: str, site: str, lfns: Sequence[str], *, reason: str, by: str | None, dry_run: bool = False) -> Record:
    """The copies of these files at a site are ``bad``, ``suspicious`` or ``good``."""
    return post(f"/replicas/{state}", {"site": site, "lfns": lfns, "reason": reason}, by=by, dry_run=dry_run)


def called_bad(*, sites: Sequence[str], datasets: Sequence[str], lfns: Sequence[str], states: Sequence[str]) -> Listed:
    """Copies that are called bad or suspicious, newest first."""
    return Afar("/replicas/bad", {"site": sites, "dataset": datasets, "lfn": lfns, "state": states})


def invalidated(name: str | None, *, limit: int, fields: tuple[str, ...]) -> Records:
    """What was declared invalid, newest first. ``name``: or a glob."""
    return rows("/invalidations", limit, name=name, fields=",".join(fields))


def summary() -> Record:
    """How much there is, in all and by site."""
    return get("/inventory")


def vanished(kind: str | None, source: str | None) -> Records:
    """What sources do not tell any more, by kind, then name."""
    gone = rows("/vanished", kind=kind, source=source, fields=",".join(VANISHED))
    return sorted(gone, key=lambda row: (KINDS.index(row["kind"]), row["name"]))


def set_aside(source: str | None) -> Records:
    """Datasets of which a source told a bad record, the longest first."""
    faulty = rows("/set-aside", source=source, fields=",".join(SET_ASIDE))
    return sorted(faulty, key=lambda row: (row["first_at"], row["dataset"], row["source"]))


def vanished_document(kind: str | None, source: str | None) -> Record:
    """The same as ``invalidate`` takes it."""
    return get("/vanished", document=True, kind=kind, source=source)


def _told(path: str, body: Any, what: str, *, by: str | None, dry_run: bool) -> Record:
    """What is answered; what is large is done by a run, which is waited for."""
    answer = post(path, body, by=by, dry_run=dry_run)
    if "errand" in answer:
        answer = errand(answer, what)
    return {name: field for name, field in answer.items() if name != "dry_run"}
