"""What people do most, in a line each. All else that there is in docs/rest.md: ``get``, ``pages``, ``post`` …"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Self
from urllib.parse import quote

from dynamo_ops.client.answers import Document
from dynamo_ops.client.caller import TIMEOUT_S, Caller
from dynamo_ops.client.credentials import choose_login
from dynamo_ops.client.repeats import Repeats

Rows = Iterator[Document]
"""Page after page, each asked for when it is come to: what is wrong is raised by the first row."""
Names = str | Sequence[str] | None
"""A name or a glob (``*`` crosses ``/``), or several: any of them. None: it is not asked."""
Since = str | date | datetime | None
"""A date, a time, or how long ago: ``3d``."""

ROWS_A_PAGE = 1_000
LFNS_AN_ADDRESS, LFNS_A_CALL = 10, 10_000
"""Many names go in a body, which counts as a write: of these there may be two a second."""


class Dynamo(Caller):
    """Dynamo of one server, as one person. Sizes are bytes; times are ISO 8601 in UTC; None is what is not known.

    What is written takes ``dry_run=True`` (only say what would happen; the answer has no ``id`` then) and ``key``
    (``Caller.post``); who does it is whose the token is.
    """

    @classmethod
    def from_environment(
        cls,
        server: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        ca: str | None = None,
        allow_plain_http: bool = False,
        repeats: Repeats | None = None,
    ) -> Self:
        """By ``DYNAMO_SERVER`` and ``DYNAMO_TOKEN``; else as the file of credentials says. Raises UsageError."""
        login = choose_login(server, allow_plain_http=allow_plain_http)
        return cls(
            login.server,
            login.token,
            timeout_s=timeout_s,
            ca=ca,
            allow_plain_http=login.allow_plain_http,
            repeats=repeats,
        )

    def find_datasets(
        self,
        name: Names = None,
        *,
        status: Names = None,
        release: Names = None,
        site: Names = None,
        group: Names = None,
        open: bool | None = None,  # noqa: A002  # as REST calls it
        larger: str | int | None = None,
        updated_since: Since = None,
        fields: Names = None,
    ) -> Rows:
        """Datasets by name: id, name, status, is_open, release, size_bytes, num_blocks, num_files, num_sites (that have
        some of it, or shall have), num_copies (sites that have all of it), last_update_at; or only ``fields``.

        ``site``: that have some of it; ``group``: that owns some of it. ``larger``: than so many bytes, or ``2 PB``.
        """
        return self._rows(
            "/datasets",
            name=name,
            status=status,
            release=release,
            site=site,
            group=group,
            open=open,
            larger=larger,
            updated_since=updated_since,
            fields=fields,
        )

    def dataset_id(self, dataset: str | int) -> int:
        """Of this very dataset; an id is as it is. Raises NotFoundError with near names."""
        if isinstance(dataset, int):
            return dataset
        # in a list, what has * or ? is a glob; [ alone makes none
        exactly = re.sub(r"([*?\[])", r"[\1]", dataset) if {*"*?"} & {*dataset} else dataset
        return int(self.get("/datasets", name=exactly, fields="id")["items"][0]["id"])

    def dataset(self, dataset: str | int) -> Document:
        """All about one, by its name or id: ``dataset`` (as in lists, and num_copies, attributes, source), ``sites``
        (its replicas as of ``where``, and num_doomed_blocks, num_awaited_blocks, the newest decision), ``locks`` and
        ``requests`` of it, ``set_aside`` (why what a source told last was not let in). Raises NotFoundError with near
        names."""
        return self.get(f"/datasets/{self.dataset_id(dataset)}")

    def where(
        self,
        dataset: Names = None,
        *,
        site: Names = None,
        group: Names = None,
        complete: bool | None = None,
        custodial: bool | None = None,
        block: Names = None,
        blocks: bool = False,
        fields: Names = None,
    ) -> Rows:
        """Replicas, by dataset and site: dataset, site, storage_type, site_status, groups (owners; ``none``: nobody),
        num_blocks, num_complete, num_blocks_of_dataset, is_complete (each block that is there), is_full (the whole
        dataset), is_growing, is_custodial, size_bytes (there), full_size_bytes (of the dataset), last_update_at.

        ``blocks``: block replicas instead, with block, group, num_files, num_files_of_block; ``block``: of one dataset,
        names behind the ``#``. ``group``: owners, or ``none``.
        """
        return self._rows(
            "/replicas",
            dataset=dataset,
            site=site,
            group=group,
            complete=complete,
            custodial=custodial,
            block=block,
            level="block" if blocks or block is not None else None,
            fields=fields,
        )

    def locate(self, files: str | Sequence[str], *, protocols: Sequence[str] = ()) -> Rows:
        """Where files can be read, by LFN: lfn, size_bytes, adler32, copies, what can be read best first: site,
        storage_type, standing, is_readable (now), protocol, pfn (None: by none of ``protocols``, the first of which
        that a site has is taken).

        ``files``: a dataset, a block (``dataset#block``), or a list of LFNs. Raises NotFoundError where one is not
        known.
        """
        if isinstance(files, str):
            yield from self.pages("/replicas/locate", dataset=files, protocol=list(protocols))
            return
        if 0 < len(files) <= LFNS_AN_ADDRESS:
            yield from self.pages("/replicas/locate", lfn=list(files), protocol=list(protocols))
            return
        for first in range(0, len(files), LFNS_A_CALL):
            body = {"lfns": list(files[first : first + LFNS_A_CALL]), "protocols": list(protocols)}
            yield from self.post("/replicas/locate", body)["items"]

    def site(self, name: str) -> Document:
        """``site`` (status, is_readable, is_writable, downtime, downtime_until, what waits, size_bytes on disk,
        projected_bytes once all has come), ``partitions`` (quota_bytes, and bytes before and after the newest plan),
        ``groups``, ``largest`` datasets, ``downtimes``, the last ``check``,
        ``checksums`` (whether its storage tells them, where that was in doubt)."""
        return self.get(f"/sites/{quote(name, safe='')}")

    def group(self, name: str) -> Document:
        """``group`` (quota_bytes: negative is unlimited; unique_bytes, of each dataset once; free_bytes: None is
        unlimited), ``sites``, ``largest`` datasets."""
        return self.get(f"/groups/{quote(name, safe='')}")

    def usage(
        self, by: str | Sequence[str] = "site", *, site: Names = None, group: Names = None, since: date | None = None
    ) -> Rows:
        """How much there is, summed ``by`` site, group, status, tier, release, or several of them: these, num_blocks
        (block replicas), num_complete, size_bytes (on disk), projected_bytes (once all has come). ``since``: a row for
        each ``day`` from then on; not by release."""
        return self.pages("/usage", by=by, site=site, group=group, since=since)

    def request_copy(
        self,
        items: str | Sequence[str],
        sites: str | Sequence[str],
        group: str,
        *,
        copies: int = 1,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Document:
        """Ask for copies of datasets or blocks (``dataset#block``), which ``group`` will own: ``copies`` over the sites
        (names or globs), 0: one at each. Answers id, num_asked: above 1 it was asked for before, and is still open."""
        body = {"items": _several(items), "sites": _several(sites), "group": group, "copies": copies}
        return self.post("/requests/copies", body, key=key, dry_run=dry_run)

    def request_deletion(
        self,
        items: str | Sequence[str],
        sites: str | Sequence[str],
        reason: str,
        *,
        group: str | None = None,
        allow_tape: bool = False,
        allow_last: int = 0,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Document:
        """Ask for deletions; what may go goes. Answers id, num_asked, state, accepted_bytes, num_last_files, verdicts
        (by block replica, a refusal with its reason). ``group``: only what it owns. ``allow_last``: so many files may
        lose their last copy."""
        body = {
            "items": _several(items),
            "sites": _several(sites),
            "reason": reason,
            "group": group,
            "allow_tape": allow_tape,
            "allow_last": allow_last,
        }
        return self.post("/requests/deletions", body, key=key, dry_run=dry_run)

    def requests(
        self,
        *,
        kind: Names = None,
        state: Names = None,
        user: Names = None,
        dataset: Names = None,
        site: Names = None,
        group: Names = None,
        since: Since = None,
    ) -> Rows:
        """Requests, newest first: id, kind (copy, deletion), state, items (the first three, and how many more), sites,
        num_copies, group, requested_by, created_at, num_asked, reason, closed_at, closed_by, closed_because …
        ``state``: one, or ``open``. ``user``: who made it."""
        return self._rows(
            "/requests", kind=kind, state=state, user=user, dataset=dataset, site=site, group=group, since=since
        )

    def request(self, request_id: int) -> Document:
        """One: as in lists, with all its ``items``, and ``actions``, by item and site: state, num_files,
        num_files_done, size_bytes, done_bytes, and ``waits``: why it is not done yet."""
        return self.get(f"/requests/{request_id}")

    def cancel_request(
        self, request_id: int, reason: str, *, key: str | None = None, dry_run: bool = False
    ) -> Document:
        """What is there stays; what is not done yet is withdrawn. Answers num_subscriptions (files), num_kept (others
        ask for it too), num_too_late (files whose deletion has begun) …"""
        return self.post(f"/requests/{request_id}/cancel", {"reason": reason}, key=key, dry_run=dry_run)

    def lock(
        self,
        item: str,
        reason: str,
        *,
        site: str = "",
        group: str = "",
        until: str | date | datetime | None = None,
        force: bool = False,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Document:
        """Nobody deletes it: a dataset, ``dataset#block``, or a glob; at a site (or a glob of sites), of a group;
        empty: of all. ``until``: an end, or how long (``90 days``); None: for ever. ``force``: also what there is not
        yet. Answers id, warnings, given_back (deletions that were taken back)."""
        body = {
            "item": item,
            "reason": reason,
            "site": site,
            "group": group,
            "until": until.isoformat() if isinstance(until, date) else until,
            "force": force,
        }
        return self.post("/locks", body, key=key, dry_run=dry_run)

    def locks(self, item: str | None = None, *, over: bool = False) -> Rows:
        """Locks in force, newest first; with ``over`` those that are expired or removed: id, item, sites, groups,
        reason, created_by, created_at, expires_at (None: never), removed_at, removed_by, removed_because."""
        return self.pages("/locks", item=item, over=over)

    def unlock(self, lock_id: int, reason: str, *, key: str | None = None, dry_run: bool = False) -> Document:
        """Take a lock back; it stays to be seen."""
        return self.delete(f"/locks/{lock_id}", key=key, dry_run=dry_run, reason=reason)

    def subscriptions(
        self,
        *,
        dataset: Names = None,
        block: Names = None,
        lfn: Names = None,
        site: Names = None,
        action: Names = None,
        state: Names = None,
        hold_reason: Names = None,
        origin: Names = None,
        activity: Names = None,
    ) -> Rows:
        """Files that shall come (``action`` copy) or go (delete) and have not: id, lfn, dataset, block, site, action,
        state, hold_reason, size_bytes, origin (``dealer``, ``request 7``), activity, num_attempts, last_error, note,
        created_at, updated_at."""
        return self._rows(
            "/subscriptions",
            dataset=dataset,
            block=block,
            lfn=lfn,
            site=site,
            action=action,
            state=state,
            hold_reason=hold_reason,
            origin=origin,
            activity=activity,
        )

    def why(self, dataset: str | int, site: str, *, plan: int | None = None, partition: str | None = None) -> Document:
        """Why it is at a site or not: ``detox`` (each line of the policy tried, with its values) and ``dealer`` (who
        wanted a copy, and what came of it), of a plan, or of the newest that knows it; None where none does, and
        ``detox_because``, ``dealer_because`` say why."""
        return self.get(f"/datasets/{self.dataset_id(dataset)}/explain", site=site, plan=plan, partition=partition)

    def plans(
        self,
        *,
        kind: Names = None,
        partition: Names = None,
        state: Names = None,
        run: Names = None,
        since: Since = None,
        fields: Names = None,
    ) -> Rows:
        """Plans of ``kind`` detox and dealer, newest first, with their partition, state, and who stored, approved or
        refused them."""
        return self._rows("/plans", kind=kind, partition=partition, state=state, run=run, since=since, fields=fields)

    def plan(self, plan_id: int) -> Document:
        """One: its figures, its sites before and after, by policy line or plugin; ``etag``: what ``seen`` is when it is
        approved, refused or committed."""
        return self.get(f"/plans/{plan_id}")

    def inject(self, document: Mapping[str, Any], *, key: str | None = None, dry_run: bool = False) -> Document:
        """Tell what there is (docs/injection.md): all of it, or nothing. Answers what is new, by kind; above 5 MB the
        ``errand`` that does it: ``wait`` for it."""
        return self.post("/injections", document, key=key, dry_run=dry_run)

    def invalidate(
        self,
        document: Mapping[str, Sequence[str]],
        reason: str,
        *,
        expected_files: int | None = None,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Document:
        """Names of ``datasets``, ``blocks``, ``files`` leave the inventory for good. ``expected_files``: num_files of
        the dry run before; if they would be others by now, nothing is done. Answers num_datasets, num_blocks,
        num_files, size_bytes, num_known (declared before), sites, requests; above 5 MB an ``errand``."""
        body = {"document": document, "reason": reason, "expected_files": expected_files}
        return self.post("/invalidations", body, key=key, dry_run=dry_run)

    def try_policy(
        self, partition: str, policy: str, *, against: int | None = None, key: str | None = None
    ) -> Document:
        """What Detox would decide now by a text that is not installed; nothing is changed. Answers the ``errand`` that
        finds out: ``wait`` for it, and its ``answer`` has the figures, and how it differs from the plan ``against``."""
        return self.post("/trials", {"partition": partition, "policy": policy, "against": against}, key=key)

    def pauses(self) -> Rows:
        """What stands still (``is_in_force``), and what stood still, newest first: id, kind (None: everything),
        partition, reason, created_by, created_at, until (None: until it is resumed), ended_at, ended_by."""
        return self.pages("/pauses")

    def _rows(self, path: str, **params: Any) -> Rows:
        return self.pages(path, limit=ROWS_A_PAGE, **params)


def _several(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
