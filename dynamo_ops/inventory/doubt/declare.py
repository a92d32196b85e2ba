"""A person calls copies bad, or suspicious, or good after all: single files at one site (SEMANTICS §10).

What is called so counts for nothing from the commit on. Of a bad copy the file is fetched again where another site has
a good one; where none has, and on tape, a person must decide. All that is named, or nothing; again, it does no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import Act, acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from dynamo_ops.inventory.catalogue.faults import Faults, what_else
from dynamo_ops.inventory.checks import ALL_BAD, BadState
from dynamo_ops.inventory.doubt.recovery import Verdict, fetch_again
from dynamo_ops.inventory.replica import files as replicas
from dynamo_ops.inventory.replica import present_file
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.site.lookup import KnownSite, find_site
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction, SubscriptionState
from dynamo_ops.pause.pauses import PauseKind, look

SHOWN_LFNS = 20
GOOD_DAYS = 90
"""So long it is known who called a copy good; failures of transfers before that do not count against it."""
REPAIRING = "bad copy"
"""The origin of the copies that are subscribed."""


@dataclass(frozen=True)
class BadSummary:
    """Of the files that were named, at one site (in a dry run: as it would be). ``num_new``: those that were not called
    so before. By what they are called now (``inventory.checks.BadState``): ``num_suspicious``; ``num_copying``: fetched
    again; ``num_bad``: something else is under way there first; ``num_last_copy`` (``last_copies``: the first of these)
    and ``num_on_tape``: a person must decide. ``size_bytes``: of all."""

    site: str
    num_files: int
    size_bytes: int
    num_new: int
    num_suspicious: int
    num_bad: int
    num_copying: int
    num_last_copy: int
    num_on_tape: int
    last_copies: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return {**asdict(self), "last_copies": list(self.last_copies)}


@dataclass(frozen=True)
class GoodSummary:
    """Of the files that were named, at one site. ``num_good``: nothing is said against them any more. Of these
    ``num_restored`` were to be fetched again and count as there, since nothing had begun. ``num_too_late``: a copy onto
    them may have begun; they come anew."""

    site: str
    num_files: int
    num_good: int
    num_restored: int
    num_too_late: int

    def document(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return asdict(self)


def declare_bad(
    db: Database, site: str, lfns: Sequence[str], *, reason: str, by: Person, dry_run: bool = False
) -> BadSummary:
    """The copies of these files at the site are bad: those that can are fetched again, owners are told.

    Raises InventoryError that names each LFN, by its place, which is unknown or not there by the inventory.
    """
    over = f"('{BadState.SUSPICIOUS}', '{BadState.GOOD}')"
    with _naming(db, Action.DECLARE_BAD, site, lfns, reason, by, dry_run) as (act, place):
        return _called(act, place, BadState.BAD, over)


def report_suspicious(
    db: Database, site: str, lfns: Sequence[str], *, reason: str, by: Person, dry_run: bool = False
) -> BadSummary:
    """Somebody has reason to think so: a person with the right to declare it confirms it, or takes it back. As
    ``declare_bad``; but nothing is fetched, and what is declared already stays so."""
    with _naming(db, Action.REPORT_BAD, site, lfns, reason, by, dry_run) as (act, place):
        return _called(act, place, BadState.SUSPICIOUS, f"('{BadState.GOOD}')")


def call_good(
    db: Database, site: str, lfns: Sequence[str], *, reason: str, by: Person, dry_run: bool = False
) -> GoodSummary:
    """Take it back, whoever said it. What is to be fetched again counts as there once more, unless a copy onto it has
    begun. InventoryError for an LFN of which nothing is said at the site."""
    with _naming(db, Action.DECLARE_BAD, site, lfns, reason, by, dry_run, only_called=True) as (act, place):
        connection = act.connection
        connection.execute(text(_RESTORE))
        connection.execute(text("ANALYZE restored"))
        connection.execute(text("CREATE TEMPORARY TABLE changed ON COMMIT DROP AS SELECT * FROM restored"))
        replicas.arrive(connection)
        connection.execute(text("DROP TABLE changed"))
        num_named, num_restored = connection.execute(
            text("SELECT (SELECT count(*) FROM named_files), (SELECT count(*) FROM restored)")
        ).one()
        num_good = present_file.call_bad(
            connection,
            f"""SELECT named.file_id, named.site_id, '{BadState.GOOD}' AS state, :reason AS reason, :by AS created_by
                FROM named_files AS named LEFT JOIN bad_replicas AS called USING (file_id, site_id)
                WHERE called.state IS DISTINCT FROM '{BadState.COPYING}' OR NOT EXISTS (
                    SELECT FROM subscriptions AS copy WHERE copy.file_id = named.file_id
                      AND copy.site_id = named.site_id AND copy.state IN {ACTIVE})""",
            over=str(ALL_BAD),
            parameters={"reason": act.reason, "by": by.name},
        )
    return GoodSummary(place.name, num_named, num_good, num_restored, num_named - num_good)


def judge_again(db: Database) -> dict[str, int]:
    """What is bad and could not be fetched again: now it is, where by now somebody has a good copy, and nothing else is
    under way. And what a person called good long ago is forgotten. PausedError while consistency stands still."""
    look(db, PauseKind.CONSISTENCY)
    with db.begin() as connection:
        hold(connection, Lock.DELETIONS)
        num_copying = _settle(connection, f"SELECT file_id, site_id FROM bad_replicas WHERE state IN {_WAITING}")
        num_forgotten = present_file.forget_bad(
            connection,
            f"SELECT file_id, site_id FROM bad_replicas WHERE created_at < now() - interval '{GOOD_DAYS} days'",
            states=f"('{BadState.GOOD}')",
        )
    return {"num_copying": num_copying, "num_forgotten": num_forgotten}


@contextmanager
def _naming(
    db: Database,
    action: Action,
    site: str,
    lfns: Sequence[str],
    reason: str,
    by: Person,
    is_trial: bool,
    *,
    only_called: bool = False,
) -> Iterator[tuple[Act, KnownSite]]:
    """An act on ``named_files`` (file_id, site_id, is_called), which is made, and looked up."""
    if not (reason := reason.strip()):
        raise InventoryError("say why (reason is empty); it is kept with every file")
    if not lfns:
        raise InventoryError("no file is named", lfns=[])
    with acting(db, by, action, f"{len(lfns):,} files at {site}", reason) as act:
        act.is_dry_run = is_trial
        connection = act.connection
        place = find_site(connection, site)
        _look_up(connection, lfns, place, only_called=only_called).refuse(action)
        datasets = tuple(connection.execute(text(_DATASETS)).scalars())
        act.check(Target(sites=(place.name,), datasets=datasets, num_files=len(lfns)))
        hold(connection, Lock.DELETIONS)
        yield act, place
        connection.execute(text("DROP TABLE IF EXISTS named_files, restored, judged"))


def _look_up(connection: Connection, lfns: Sequence[str], site: KnownSite, *, only_called: bool) -> Faults:
    for statement in _TABLES:
        connection.execute(text(statement))
    named = pl.DataFrame({"place": range(len(lfns)), "lfn": lfns}, schema={"place": pl.Int64, "lfn": pl.String})
    insert_frame(connection, "named_lfns", named.unique("lfn", keep="first", maintain_order=True))
    connection.execute(text("ANALYZE named_lfns"))
    connection.execute(text(_FIND), {"site": site.id})
    connection.execute(text("ANALYZE named_files"))
    faults = Faults()
    faults.query(connection, _UNKNOWN, what_else)
    faults.query(connection, _NOT_CALLED if only_called else _NOT_THERE, site=site.name)
    connection.execute(text("DROP TABLE named_lfns"))
    return faults


def _called(act: Act, site: KnownSite, state: BadState, over: str) -> BadSummary:
    connection = act.connection
    connection.execute(text(_NEW.format(over=over)))
    connection.execute(text("ANALYZE new_words"))
    num_new = present_file.call_bad(
        connection,
        f"SELECT file_id, site_id, '{state}' AS state, :reason AS reason, :by AS created_by FROM new_words",
        over=over,
        parameters={"reason": act.reason, "by": act.by.name},
    )
    if state == BadState.BAD:
        _settle(connection, _DECLARED)
    counts: dict[str, int] = dict(connection.execute(text(_COUNTS)).tuples().all())
    num_files, size_bytes = connection.execute(text(_SUM)).one()
    last_copies = tuple(connection.execute(text(_LAST_COPIES)).scalars())
    tell(connection, EventKind.FILE_BAD, BAD_BY_DATASET, {"by": act.by.name, "reason": act.reason})
    connection.execute(text("DROP TABLE new_words"))
    return BadSummary(
        site.name,
        num_files,
        size_bytes,
        num_new,
        num_suspicious=counts.get(BadState.SUSPICIOUS, 0),
        num_bad=counts.get(BadState.BAD, 0),
        num_copying=counts.get(BadState.COPYING, 0),
        num_last_copy=counts.get(BadState.LAST_COPY, 0),
        num_on_tape=counts.get(BadState.ON_TAPE, 0),
        last_copies=last_copies,
    )


def _settle(connection: Connection, copies: str) -> int:
    """Judge ``copies`` (file_id, site_id), which are called bad, and fetch again what can be; how many are."""
    fetch_again(
        connection,
        f"SELECT file_id, site_id, true AS is_there, true AS must_be_good FROM ({copies}) AS called",
        origin=REPAIRING,
    )
    present_file.settle_bad(connection, _AFTER)
    num_copying: int = connection.execute(
        text(f"SELECT count(*) FROM judged WHERE verdict = '{Verdict.REPAIR}'")
    ).scalar_one()
    return num_copying


_WAITING = f"('{BadState.BAD}', '{BadState.LAST_COPY}', '{BadState.ON_TAPE}')"

_TABLES = (
    "CREATE TEMPORARY TABLE named_lfns (place bigint, lfn text) ON COMMIT DROP",
    """CREATE TEMPORARY TABLE named_files (file_id bigint, site_id smallint, is_there boolean, is_called boolean)
       ON COMMIT DROP""",
)

_FIND = f"""
    INSERT INTO named_files (file_id, site_id, is_there, is_called)
    SELECT file.id, CAST(:site AS smallint),
           EXISTS (SELECT FROM block_replicas AS replica WHERE replica.block_id = file.block_id
                   AND replica.site_id = CAST(:site AS smallint) AND {is_present("file.id", "replica")}),
           EXISTS (SELECT FROM bad_replicas AS called WHERE called.file_id = file.id
                   AND called.site_id = CAST(:site AS smallint) AND called.state <> '{BadState.GOOD}')
    FROM named_lfns AS named JOIN files AS file ON md5(file.lfn)::uuid = md5(named.lfn)::uuid"""

_UNKNOWN = """
    SELECT format('lfns[%s]', named.place) AS path, format('unknown file ''%s''', named.lfn) AS message,
           named.lfn AS name
    FROM named_lfns AS named
    WHERE NOT EXISTS (SELECT FROM files AS file WHERE md5(file.lfn)::uuid = md5(named.lfn)::uuid)
    ORDER BY named.place"""

_FAULTY = """
    SELECT format('lfns[%s]', named.place) AS path, format({message}, named.lfn, CAST(:site AS text)) AS message
    FROM named_lfns AS named JOIN files AS file ON md5(file.lfn)::uuid = md5(named.lfn)::uuid
    JOIN named_files AS looked_up ON looked_up.file_id = file.id WHERE {condition} ORDER BY named.place"""

_NOT_THERE = _FAULTY.format(
    message="'''%s'' is not at %s by the inventory'", condition="NOT looked_up.is_there AND NOT looked_up.is_called"
)
_NOT_CALLED = _FAULTY.format(message="'nothing is said against ''%s'' at %s'", condition="NOT looked_up.is_called")

_DATASETS = """
    SELECT DISTINCT dataset.name FROM named_files AS named JOIN files AS file ON file.id = named.file_id
    JOIN blocks AS block ON block.id = file.block_id JOIN datasets AS dataset ON dataset.id = block.dataset_id"""

_NEW = """
    CREATE TEMPORARY TABLE new_words ON COMMIT DROP AS
    SELECT named.file_id, named.site_id FROM named_files AS named
    LEFT JOIN bad_replicas AS called USING (file_id, site_id) WHERE called.state IS NULL OR called.state IN {over}"""

_DECLARED = f"""
    SELECT called.file_id, called.site_id FROM named_files AS named JOIN bad_replicas AS called USING (file_id, site_id)
    WHERE called.state IN {_WAITING}"""

_AFTER = f"""
    SELECT file_id, site_id, CASE verdict WHEN '{Verdict.REPAIR}' THEN '{BadState.COPYING}'
        WHEN '{Verdict.LOST}' THEN '{BadState.LAST_COPY}' WHEN '{Verdict.TAPE}' THEN '{BadState.ON_TAPE}'
        ELSE '{BadState.BAD}' END AS state
    FROM judged"""

_COUNTS = """
    SELECT called.state, count(*) FROM named_files AS named JOIN bad_replicas AS called USING (file_id, site_id)
    GROUP BY called.state"""

_SUM = """
    SELECT count(*), coalesce(sum(file.size_bytes), 0)::bigint
    FROM named_files AS named JOIN files AS file ON file.id = named.file_id"""

_LAST_COPIES = f"""
    SELECT file.lfn FROM named_files AS named JOIN bad_replicas AS called USING (file_id, site_id)
    JOIN files AS file ON file.id = named.file_id WHERE called.state = '{BadState.LAST_COPY}'
    ORDER BY file.lfn LIMIT {SHOWN_LFNS}"""

BAD_BY_DATASET = f"""
    SELECT dataset.name AS object_name, CAST(NULL AS text) AS person,
           ARRAY(SELECT DISTINCT owner.name
                 FROM block_replicas AS replica JOIN groups AS owner ON owner.id = replica.group_id
                 WHERE replica.dataset_id = dataset.id AND replica.site_id = site.id ORDER BY 1) AS groups,
           ARRAY[site.name] AS sites, ARRAY[dataset.name] AS datasets,
           jsonb_build_object(
               'by', CAST(:by AS text), 'reason', CAST(:reason AS text), 'num_files', count(*),
               'size_bytes', sum(file.size_bytes)::bigint,
               'num_suspicious', count(*) FILTER (WHERE called.state = '{BadState.SUSPICIOUS}'),
               'num_copying', count(*) FILTER (WHERE called.state = '{BadState.COPYING}'),
               'num_last_copy', count(*) FILTER (WHERE called.state = '{BadState.LAST_COPY}')) AS facts
    FROM new_words AS new JOIN bad_replicas AS called USING (file_id, site_id)
    JOIN files AS file ON file.id = new.file_id JOIN blocks AS block ON block.id = file.block_id
    JOIN datasets AS dataset ON dataset.id = block.dataset_id JOIN sites AS site ON site.id = new.site_id
    GROUP BY dataset.id, dataset.name, site.id, site.name"""
"""Needs ``new_words`` (file_id, site_id): an event of each dataset and site."""

_RESTORE = f"""
    CREATE TEMPORARY TABLE restored ON COMMIT DROP AS
    WITH withdrawn AS (
        UPDATE subscriptions AS copy SET state = '{SubscriptionState.CANCELLED}', hold_reason = NULL, updated_at = now()
        FROM named_files AS named JOIN bad_replicas AS called USING (file_id, site_id)
        WHERE copy.file_id = named.file_id AND copy.site_id = named.site_id AND called.state = '{BadState.COPYING}'
          AND copy.action = '{SubscriptionAction.COPY}' AND copy.origin = '{REPAIRING}'
          AND copy.state IN ('{SubscriptionState.NEW}', '{SubscriptionState.HELD}')
          AND NOT EXISTS (SELECT FROM transfers AS attempt WHERE attempt.subscription_id = copy.id)
        RETURNING copy.file_id, copy.site_id)
    SELECT file_id, site_id FROM withdrawn"""
