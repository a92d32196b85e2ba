"""What conditions see while some block replicas are set aside: columns over the rows that remain of each replica.

Rows of one replica stand together, and so do the replicas of one dataset: every aggregate is one pass over segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamo_ops.policy.evaluation.image import Flags, Image, Indices, Small, distinct, ranges

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Copies:
    """By replica, of its dataset: full replicas at ready disk sites, at all sites, and the place of ``on_tape``."""

    num_disk: Indices
    num_all: Indices
    on_tape: Small


@dataclass(frozen=True)
class BlockCopies:
    """By block replica, of its block: complete replicas in the image; complete here and at a tape site; complete here,
    incomplete elsewhere and not complete at another ready disk site. What is not sound elsewhere counts as incomplete,
    and nowhere as a copy on tape."""

    num_complete: Indices
    is_on_tape: Flags
    is_last_source: Flags


@dataclass(frozen=True)
class _FullOwners:
    """Owners of the sound full replicas: (dataset, group) as one key, ascending; the replica, and whether it is on a
    ready disk."""

    keys: Indices
    replicas: Indices
    disk_before: Indices


class View:
    """Some block replicas, and the dataset replicas that they make up.

    A replica counts itself as it is stored; what it counts of the others must be sound (SEMANTICS §10).

    ``rows``: row numbers of the image, ascending; not empty. ``group``: their owners now. Without ``whole`` it is the
    view of whole replicas: all block replicas left of some datasets. With it, a view of what remains of some replicas
    after others of their blocks were decided; ``position`` is then each row's place in ``whole.rows``, and the other
    replicas are seen as they are in ``whole``.
    """

    def __init__(
        self,
        image: Image,
        rows: Indices,
        group: Small,
        *,
        whole: View | None = None,
        position: Indices | None = None,
    ) -> None:
        self.image, self.rows, self.group = image, rows, group
        self.whole = whole or self
        self.position = position
        replica = self._take(image.replica)
        is_first = np.ones(len(replica), dtype=np.bool_)
        is_first[1:] = replica[1:] != replica[:-1]
        self.starts: Indices = np.flatnonzero(is_first)
        self.replica_of_row: Indices = np.cumsum(is_first) - 1
        self.replicas: Small = replica[self.starts]
        self.dataset: Small = image.dataset_of_replica[self.replicas]
        self.site: Small = image.site_of_replica[self.replicas]
        self.is_enforced: Flags = np.zeros(len(self.replicas), dtype=np.bool_)
        self.is_needed: Flags = np.zeros(len(self.replicas), dtype=np.bool_)

    def _take(self, column: Values) -> Values:
        return column if len(self.rows) == self.image.num_rows else column[self.rows]

    # By block replica.

    @cached_property
    def last_update(self) -> Indices:
        """Microseconds since 1970."""
        return self._take(self.image.last_update)

    @cached_property
    def is_locked(self) -> Flags:
        """A lock in force covers it."""
        return self._take(self.image.is_locked)

    @cached_property
    def is_complete(self) -> Flags:
        """All its files are there."""
        return self._take(self.image.is_complete)

    @cached_property
    def is_sound(self) -> Flags:
        """Complete, and no file is doubtful."""
        return self._take(self.image.is_sound)

    @cached_property
    def size_bytes(self) -> Indices:
        """Bytes on disk."""
        return self._take(self.image.size_bytes)

    @cached_property
    def block_copies(self) -> BlockCopies:
        """The copies of each row's block, all replicas seen whole."""
        if self.position is not None:
            copies = self.whole.block_copies
            at = self.position
            return BlockCopies(copies.num_complete[at], copies.is_on_tape[at], copies.is_last_source[at])
        block, number = self._blocks()
        site = self._take(self.image.site)
        complete, sound, disk = self.is_complete, self.is_sound, self.image.is_ready_disk[site]

        def count(flags: Flags) -> Indices:
            return np.bincount(block[flags], minlength=number)[block]

        num_complete = count(sound) + (complete & ~sound)
        on_tape = complete & (count(sound & self.image.is_tape[site]) > 0)
        waiting_elsewhere = count(~sound) - ~sound
        sound_elsewhere = count(sound & disk) - (sound & disk)
        return BlockCopies(num_complete, on_tape, complete & (waiting_elsewhere > 0) & (sound_elsewhere == 0))

    def _blocks(self) -> tuple[Indices, int]:
        """Each row's block, numbered from 0 over the datasets of this view; and how many numbers there are."""
        number, first = self.image.blocks
        datasets = self.dataset[self.dataset_starts]
        counts = first[datasets + 1] - first[datasets]
        shift = np.cumsum(counts) - counts - first[datasets]
        local = self.dataset_of_replica[self.replica_of_row]
        return self._take(number) + shift[local], int(counts.sum())

    # By dataset replica.

    def any(self, flags: Flags) -> Flags:
        """Some of the replica's rows are flagged."""
        return np.asarray(np.logical_or.reduceat(flags, self.starts))

    def sums(self, values: Indices) -> Indices:
        """Sum over the replica's rows."""
        return np.add.reduceat(values, self.starts)

    @cached_property
    def newest(self) -> Indices:
        """Newest update of the replica's rows, microseconds since 1970."""
        return np.maximum.reduceat(self.last_update, self.starts)

    @cached_property
    def is_complete_replica(self) -> Flags:
        """Every block replica is complete."""
        return np.logical_and.reduceat(self.is_complete, self.starts)

    @cached_property
    def is_full(self) -> Flags:
        """Complete, with every block of the dataset."""
        num_rows = np.bincount(self.replica_of_row)
        return np.asarray(self.is_complete_replica & (num_rows == self.image.num_blocks[self.dataset]))

    @cached_property
    def is_sound_full(self) -> Flags:
        """Full, and sound."""
        if self.image.is_all_sound:
            return self.is_full
        return np.asarray(self.is_full & np.logical_and.reduceat(self.is_sound, self.starts))

    @cached_property
    def dataset_starts(self) -> Indices:
        """Where in ``replicas`` each dataset begins."""
        return np.flatnonzero(self._is_first_of_dataset)

    @cached_property
    def dataset_of_replica(self) -> Indices:
        """The number of each replica's dataset, from 0 over the datasets of this view."""
        return self._is_first_of_dataset.cumsum() - 1

    @cached_property
    def _is_first_of_dataset(self) -> Flags:
        is_first = np.ones(len(self.dataset), dtype=np.bool_)
        is_first[1:] = self.dataset[1:] != self.dataset[:-1]
        return is_first

    def over_dataset(self, values: Values) -> Indices:
        """For each replica the sum over all replicas of its dataset in this view."""
        return np.add.reduceat(values.astype(np.int64), self.dataset_starts)[self.dataset_of_replica]

    @cached_property
    def in_whole(self) -> Indices:
        """The place of each replica in ``whole.replicas``."""
        return np.searchsorted(self.whole.replicas, self.replicas)

    @cached_property
    def copies(self) -> Copies:
        """This replica with its remaining rows, as it is stored; the others whole, if they are sound."""
        whole, at = self.whole, self.in_whole
        disk, tape = self.image.is_ready_disk[self.site], self.image.is_tape[self.site]
        num_disk, num_all, num_tape, has_tape = whole._sound_copies
        change = self.is_full.astype(np.int64) - whole.is_sound_full[at]
        is_tape_change = self.is_sound_full.astype(np.int64) - whole.is_sound_full[at]
        on_tape = np.where(num_tape[at] + is_tape_change * tape > 0, 2, has_tape[at])
        return Copies(num_disk[at] + change * disk, num_all[at] + change, on_tape.astype(np.int32))

    @cached_property
    def _sound_copies(self) -> tuple[Indices, Indices, Indices, Indices]:
        """By replica, of its dataset: sound full replicas at ready disk sites, at all sites, at tape sites; and
        whether any replica is on tape."""
        disk, tape = self.image.is_ready_disk[self.site], self.image.is_tape[self.site]
        full = self.is_sound_full
        return (
            self.over_dataset(full & disk),
            self.over_dataset(full),
            self.over_dataset(full & tape),
            (self.over_dataset(tape) > 0).astype(np.int64),
        )

    # Copies that share an owner.

    @cached_property
    def common_owner_copies(self) -> tuple[Indices, Indices]:
        """Full replicas of the dataset that share an owner with the replica: at ready disk sites, this one included,
        and at any site, this one excluded."""
        full = self.whole._full_owners
        replica, key = self._owners
        first, last = np.searchsorted(full.keys, key), np.searchsorted(full.keys, key, side="right")
        number = np.bincount(replica, minlength=len(self.replicas))
        is_single = number[replica] == 1
        disk, elsewhere = np.zeros_like(number), np.zeros_like(number)
        own = replica[is_single]
        disk[own] = full.disk_before[last[is_single]] - full.disk_before[first[is_single]]
        elsewhere[own] = (last - first)[is_single]
        self_full = self.whole.is_sound_full[self.in_whole]
        on_disk = self.image.is_ready_disk[self.site]
        elsewhere -= (number == 1) & self_full
        disk -= (number == 1) & self_full & on_disk
        if not is_single.all():
            several = ~is_single
            pairs = self._pairs(replica[several], first[several], last[several], full)
            with_disk = self.image.is_ready_disk[self.whole.site[pairs[1]]]
            disk += np.bincount(pairs[0][with_disk], minlength=len(disk))
            elsewhere += np.bincount(pairs[0], minlength=len(elsewhere))
        return disk + (self.is_full & on_disk), elsewhere

    def _pairs(self, replica: Indices, first: Indices, last: Indices, full: _FullOwners) -> tuple[Indices, Indices]:
        """Pairs (replica of this view, other full replica of ``whole``) that share an owner, each once."""
        partner = full.replicas[ranges(first, last)]
        mine = np.repeat(replica, last - first)
        big = len(self.whole.replicas)
        pairs = distinct(mine * big + partner)
        mine, partner = pairs // big, pairs % big
        apart = self.in_whole[mine] != partner
        return mine[apart], partner[apart]

    @cached_property
    def _owners(self) -> tuple[Indices, Indices]:
        """Owners of the replicas, each once: the replica's place in this view, and (dataset, group) as one key."""
        num_groups = self.image.groups.height
        pairs = distinct(self.replica_of_row * num_groups + self.group)
        replica, group = pairs // num_groups, pairs % num_groups
        return replica, self.dataset[replica].astype(np.int64) * num_groups + group

    @cached_property
    def _full_owners(self) -> _FullOwners:
        replica, key = self._owners
        is_full = self.is_sound_full[replica]
        replica, key = replica[is_full], key[is_full]
        order = np.argsort(key, kind="stable")
        disk = self.image.is_ready_disk[self.site[replica[order]]]
        return _FullOwners(key[order], replica[order], np.concatenate(([0], np.cumsum(disk))))
