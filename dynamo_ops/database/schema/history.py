"""What Detox and Dealer did, so that it can be asked for by dataset and site long after (written by each commit).

No foreign keys to datasets, blocks and sites: a check a row would double what a commit costs. Sites never go, and what
was declared invalid keeps its name in ``invalidations``.
"""

from __future__ import annotations

from sqlalchemy import Double, ForeignKey, Index, Integer, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, one_of

HISTORY_DECISIONS = ("delete", "reowned", "left_out", "protect", "keep", "ignore")


class PolicyLine(Base):
    """The text of a line of a policy version, by its number (0: the default), as decisions name it."""

    __tablename__ = "policy_lines"

    policy_version_id: Mapped[int] = mapped_column(ForeignKey("policy_versions.id"), primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    text: Mapped[str]
    source_line: Mapped[int] = mapped_column(Integer)


class DetoxDecision(Base):
    """What a committed plan did to, or said of, a dataset replica: block replicas and bytes by decision and line.

    ``delete``, ``reowned`` and ``left_out`` (planned, but kept by the commit) are written by every plan. ``protect``,
    ``keep`` and ``ignore`` are written when decisions or line texts of the dataset replica are not those of the
    partition's committed plan before: what is said last holds until something else is said.
    """

    __tablename__ = "detox_history"
    __table_args__ = (
        one_of("decision", *HISTORY_DECISIONS),
        Index("ix_detox_history_plan_id", "plan_id", postgresql_using="brin"),
    )

    dataset_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    plan_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    decision: Mapped[str] = mapped_column(Text, primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    num_blocks: Mapped[int] = mapped_column(Integer)
    size_bytes: Mapped[int]


class DetoxSiteState(Base):
    """A target site in a committed plan. ``quota_bytes`` null: unknown. ``deleted_bytes``: what the commit subscribed
    for deletion, the other figures are the plan's."""

    __tablename__ = "detox_site_states"
    __table_args__ = (Index("ix_detox_site_states_site_id", "site_id", "plan_id"),)

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    quota_bytes: Mapped[int | None]
    is_triggered: Mapped[bool]
    bytes_before: Mapped[int]
    bytes_after: Mapped[int]
    protected_bytes: Mapped[int]
    deleted_bytes: Mapped[int]


class DetoxLeftOut(Base):
    """A block replica that a plan deletes and its commit kept, with the reason."""

    __tablename__ = "detox_left_out"
    __table_args__ = (Index("ix_detox_left_out_dataset_id", "dataset_id"),)

    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"), primary_key=True)
    block_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    dataset_id: Mapped[int]
    size_bytes: Mapped[int]
    reason: Mapped[str]


class DealerCopy(Base):
    """A copy that a committed Dealer plan made, or an owner that it changed. ``plugin`` and ``reason``: who wanted it
    and why; ``weight``: the probability with which the site was drawn, null where it was named.

    ``num_blocks`` and ``size_bytes``: as accepted; of the blocks ``num_left_out`` were not made by the commit, for the
    reasons ``left_out``.
    """

    __tablename__ = "dealer_history"
    __table_args__ = (Index("ix_dealer_history_plan_id", "plan_id", postgresql_using="brin"),)

    dataset_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    site_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"), primary_key=True, autoincrement=False)
    copy: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    plugin: Mapped[str]
    request_id: Mapped[int | None]
    group_id: Mapped[int | None] = mapped_column(SmallInteger)
    num_blocks: Mapped[int] = mapped_column(Integer)
    num_left_out: Mapped[int] = mapped_column(Integer)
    left_out: Mapped[str | None]
    size_bytes: Mapped[int]
    reason: Mapped[str]
    weight: Mapped[float | None] = mapped_column(Double)
