"""What must hold, by one who knows the bytes: of what is deleted before it is, and of the inventory after each step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions

from tests.histories.places import Content, Stored

if TYPE_CHECKING:
    from tests.histories.world import World

Copy = tuple[str, str]
"""A site, and the LFN of a file."""

PRESENT = """
    SELECT site.name, file.lfn FROM block_replicas AS replica JOIN sites AS site ON site.id = replica.site_id
    JOIN files AS file ON file.block_id = replica.block_id
    LEFT JOIN block_replica_files AS listed ON listed.block_id = file.block_id AND listed.site_id = replica.site_id
        AND listed.file_id = file.id
    WHERE replica.is_complete OR listed.file_id IS NOT NULL"""
DOOMED = """
    SELECT site.name, file.lfn FROM subscriptions AS wish JOIN sites AS site ON site.id = wish.site_id
    JOIN files AS file ON file.id = wish.file_id
    WHERE wish.action = 'delete' AND (wish.state IN ('new', 'inbatch', 'retry', 'held') OR EXISTS (
        SELECT FROM deletions AS attempt WHERE attempt.subscription_id = wish.id AND attempt.is_unsettled))"""
AWAITED = """
    SELECT site.name, file.lfn FROM subscriptions AS wish JOIN sites AS site ON site.id = wish.site_id
    JOIN files AS file ON file.id = wish.file_id
    WHERE wish.action = 'copy' AND wish.state IN ('new', 'inbatch', 'retry', 'held')"""
FILES = "SELECT lfn, size_bytes, adler32 FROM files"
LOCKED = """
    SELECT site.name, file.lfn FROM locks AS lock CROSS JOIN sites AS site
    JOIN datasets AS dataset ON lock.item IN (dataset.name) OR starts_with(lock.item, dataset.name || '#')
    JOIN blocks AS block ON block.dataset_id = dataset.id
        AND lock.item IN (dataset.name, dataset.name || '#' || block.name)
    JOIN files AS file ON file.block_id = block.id
    WHERE lock.removed_at IS NULL AND (lock.expires_at IS NULL OR lock.expires_at > now())
        AND lock.sites IN ('', site.name)"""
CALLED = """
    SELECT site.name, file.lfn FROM bad_replicas AS bad JOIN sites AS site ON site.id = bad.site_id
    JOIN files AS file ON file.id = bad.file_id WHERE bad.state IN ('suspicious', 'bad', 'last_copy', 'on_tape')"""
SUMS = """
    SELECT site.name, block.name, replica.size_bytes, replica.is_complete, count(file.id), block.num_files,
           coalesce(sum(file.size_bytes), 0)
    FROM block_replicas AS replica JOIN sites AS site ON site.id = replica.site_id
    JOIN blocks AS block ON block.id = replica.block_id
    LEFT JOIN files AS file ON file.block_id = block.id AND (replica.is_complete OR EXISTS (
        SELECT FROM block_replica_files AS listed WHERE listed.block_id = block.id
            AND listed.site_id = replica.site_id AND listed.file_id = file.id))
    GROUP BY site.name, block.name, block.num_files, replica.size_bytes, replica.is_complete
    HAVING replica.size_bytes <> coalesce(sum(file.size_bytes), 0)
        OR replica.is_complete <> (count(file.id) = block.num_files)"""


OLD = timedelta(days=2)
"""Files that were changed less long ago may be being written."""


class WitnessError(AssertionError):
    """Something that must never be has come to be."""


@dataclass(frozen=True)
class Facts:
    """The inventory's word now, by plain reading of its tables. ``called``: copies against which somebody has said
    something; ``files``: all that it knows, with what they are."""

    present: frozenset[Copy]
    doomed: frozenset[Copy]
    awaited: frozenset[Copy]
    called: frozenset[Copy]
    ready: frozenset[str]
    files: Mapping[str, Content]


@dataclass(frozen=True)
class Moment:
    """The inventory's word at a moment, and what is locked."""

    facts: Facts
    locked: frozenset[Copy]


@dataclass
class Witness:
    """``taken``: copies that a storage lost or spoilt, and nobody told Dynamo. ``doubts``: by site, files that the
    newest check found missing or of another size there. ``refused``: sites whose newest check was refused.
    ``permitted``: copies that may be the last of their file and go: a person said so, or a plan that could.
    """

    world: World
    taken: set[Copy] = field(default_factory=set)
    doubts: dict[str, set[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    permitted: set[Copy] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    is_repair: bool = False
    before: Moment | None = None
    seen: dict[int, set[str]] = field(default_factory=dict)
    judged: dict[str, int] = field(default_factory=dict)
    _connection: psycopg2.extensions.connection | None = None

    def begin(self) -> None:
        """A history begins."""
        for known in (self.taken, self.doubts, self.refused, self.permitted, self.invalid, self.seen, self.judged):
            known.clear()

    # -- the database, by a connection that no step has ------------------------------------------------------------

    def select(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows; ``%(name)s`` or ``:name`` are parameters."""
        with self._cursor() as cursor:
            cursor.execute(_pyformat(sql, params or {}), dict(params or {}) or None)
            return cursor.fetchall()

    def execute(self, sql: str) -> None:
        """Statements without an answer."""
        with self._cursor() as cursor:
            cursor.execute(sql)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()

    def _cursor(self) -> Any:
        if self._connection is None:
            self._connection = psycopg2.connect(self.world.db.url)
            self._connection.autocommit = True
        return self._connection.cursor()

    def facts(self) -> Facts:
        """What the inventory says now."""
        return Facts(
            self._copies(PRESENT),
            self._copies(DOOMED),
            self._copies(AWAITED),
            self._copies(CALLED),
            frozenset(name for (name,) in self.select("SELECT name FROM sites WHERE status = 'ready'")),
            {lfn: Content(size, adler) for lfn, size, adler in self.select(FILES)},
        )

    def _copies(self, sql: str) -> frozenset[Copy]:
        return frozenset((site, lfn) for site, lfn in self.select(sql))

    def server_cpu_s(self) -> float:
        """Of the processes of PostgreSQL that serve connections now."""
        pids = self.select("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for (pid,) in pids]
        return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")

    # -- before a file goes ----------------------------------------------------------------------------------------

    def about_to_delete(self, site: str, lfn: str) -> None:
        """Dynamo deletes this file at this site, now."""
        world, moments = self.world, self._moments()
        place = world.place(site)
        if lfn in world.untold:
            if world.is_told_by_source or _age(place.files[lfn]) < OLD:
                raise WitnessError(f"{lfn} goes at {site}, of which the inventory's source has not told yet")
            return  # nobody will tell of it
        for other in world.sites_at(place.name):
            if other != site and all((other, lfn) in moment.facts.present - moment.facts.doomed for moment in moments):
                raise WitnessError(f"{lfn} goes at {site}, and {other} has it on the same storage")
        if not self.is_repair:
            if all((site, lfn) in moment.locked for moment in moments):
                raise WitnessError(f"{lfn} goes at {site}, and is locked")
            if not any(site in moment.facts.ready for moment in moments):
                raise WitnessError(f"{lfn} goes at {site}, which is not ready")
        content = world.content(lfn)
        if content is not None and lfn not in self.invalid and place.has(lfn, content):
            self._may_go(site, lfn, content, [moment.facts for moment in moments])

    def _may_go(self, site: str, lfn: str, content: Content, moments: list[Facts]) -> None:
        """A good copy goes: another is there to be sure of, or it was allowed and no copy waits for it."""
        world, place = self.world, self.world.place(site)
        elsewhere = [other for other in world.layout.places if world.place(other) is not place]
        if any(self._is_sure(other, lfn, content, facts) for other in elsewhere for facts in moments):
            return
        awaiting = frozenset.intersection(*(facts.awaited for facts in moments))
        awaited = [other for other, name in awaiting if name == lfn and other != site]
        others = [other.name for other in world.places.values() if other is not place and other.has(lfn, content)]
        if awaited:
            raise WitnessError(f"{lfn} goes at {site}: the last source of a copy to {awaited[0]}; it is at {others}")
        if (site, lfn) not in self.permitted:
            raise WitnessError(f"{lfn} goes at {site}: the last copy, and nobody allowed it; it is at {others}")

    def note_before(self) -> None:
        """Others are at work from now on, until the end of the step."""
        self.before = self._now()

    def _now(self) -> Moment:
        return Moment(self.facts(), self._copies(LOCKED))

    def _moments(self) -> list[Moment]:
        """When a deletion was judged, as far as the test can tell: now, or before others were at work."""
        return [self._now(), *([self.before] if self.before else [])]

    def _is_sure(self, site: str, lfn: str, content: Content, facts: Facts) -> bool:
        """The site's copy may be the reason why another goes (SEMANTICS §10), as far as anybody could know."""
        copy = site, lfn
        return (
            copy in facts.present
            and copy not in facts.doomed | facts.called
            and site in facts.ready
            and site not in self.refused
            and lfn not in self.doubts.get(site, ())
            and (self.world.place(site).has(lfn, content) or copy in self.taken)
        )

    # -- what storages do to themselves ----------------------------------------------------------------------------

    def storage_took(self, place: str, lfns: list[str]) -> None:
        """A storage has lost or spoilt these files by itself."""
        self.taken |= {(site, lfn) for site in self.world.sites_at(place) for lfn in lfns}

    # -- what checks see -------------------------------------------------------------------------------------------

    def expect(self, check_id: int, site: str) -> None:
        """A check of this site takes its lists now. What is missing there, it will say; of what is being copied or
        deleted it says nothing."""
        facts = self.facts()
        place = self.world.place(site)
        lacking = {
            lfn
            for name, lfn in facts.present - facts.awaited - facts.doomed
            if name == site
            and (lfn not in place.files or place.files[lfn].content.size_bytes != facts.files[lfn].size_bytes)
        }
        self.seen[check_id] = {lfn for lfn in lacking if lfn not in place.files or _age(place.files[lfn]) > OLD}

    def follow_checks(self) -> None:
        """The newest check that came to something says what is doubted at its site."""
        for site in self.world.site_ids:
            states = self.select(
                """SELECT judged.id, judged.state FROM consistency_checks AS judged
                   JOIN sites AS site ON site.id = judged.site_id
                   WHERE site.name = :site AND judged.state IN ('compared', 'repaired', 'refused')
                   ORDER BY judged.started_at DESC, judged.id DESC""",
                {"site": site},
            )
            newest = next((check_id for check_id, state in states if state != "refused"), None)
            if newest is not None and self.judged.get(site) != newest:
                self.judged[site] = newest
                self.doubts[site] = set(self.seen.get(newest, ()))
            if states and states[0][1] == "refused":
                self.refused.add(site)
            else:
                self.refused.discard(site)

    # -- after each step -------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Nothing is wrong with the inventory, as far as it could know; else ``WitnessError``."""
        facts = self.facts()
        self._forget(facts)
        for site, lfn in sorted(facts.present):
            content = facts.files[lfn]
            doubted = (site, lfn) in self.taken | facts.doomed | facts.called or lfn in self.doubts.get(site, ())
            if not doubted and not self.world.place(site).has(lfn, content):
                stored = self.world.place(site).files.get(lfn)
                raise WitnessError(f"the inventory says that {lfn} is at {site}, where there is {stored}")
        wrong = self.select(SUMS)
        if wrong:
            raise WitnessError(f"a block replica is not what its files are: {wrong[0]}")

    def _forget(self, facts: Facts) -> None:
        self.world.untold -= facts.files.keys()
        self.invalid -= facts.files.keys()  # somebody has taken that back
        self.permitted &= facts.doomed
        self.taken = {
            (site, lfn)
            for site, lfn in self.taken
            if (content := self.world.content(lfn)) and not self.world.place(site).has(lfn, content)
        }
        for site, missing in self.doubts.items():
            missing &= {lfn for name, lfn in facts.present if name == site}


def _age(stored: Stored) -> timedelta:
    return datetime.now(UTC) - stored.written_at


def _pyformat(sql: str, params: Mapping[str, Any]) -> str:
    for name in params:
        sql = sql.replace(f":{name}", f"%({name})s")
    return sql
