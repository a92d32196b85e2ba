"""Datasets over REST."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_ops.cli.afar.server import Afar, get, plain, server, whole
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.tables import Record, Records


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
