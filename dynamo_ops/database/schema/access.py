"""Who may do what, by which credentials, who did what, and what was asked for and is done by a run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key, created, one_of, smallint

ROLES = ("viewer", "user", "producer", "manager", "site_admin", "operator", "admin")
IDENTITY_KINDS = ("certificate", "jwt")
KNOWN_BY = ("shell", "dag", "airflow", "token", "certificate", "jwt")
OUTCOMES = ("done", "dry_run", "refused", "failed")
ERRAND_KINDS = ("commit", "injection", "invalidation", "trial")
ERRAND_STATES = ("waiting", "running", "done", "failed")


class AccessGrant(Base):
    """A role, and where it holds. ``subject``: a person, or ``@role`` for all who have a role of the auth manager.

    ``scope``: ``*``, or a kind and a glob (``site:T2_DE_*``). ``until``: null for ever.
    """

    __tablename__ = "access_grants"
    __table_args__ = (UniqueConstraint("subject", "role", "scope"), one_of("role", *ROLES))

    id: Mapped[bigint_key]
    subject: Mapped[str]
    role: Mapped[str]
    scope: Mapped[str] = mapped_column(Text, server_default="*")
    granted_by: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[created]
    until: Mapped[datetime | None]


class GroupMember(Base):
    """Somebody who may ask for a group's copies and locks."""

    __tablename__ = "group_members"
    __table_args__ = (Index("ix_group_members_person", "person"),)

    group_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("groups.id"), primary_key=True, autoincrement=False)
    person: Mapped[str] = mapped_column(Text, primary_key=True)
    created_by: Mapped[str]
    created_at: Mapped[created]


class Identity(Base):
    """Another name of a person, as a trusted proxy verified it: the DN of a certificate, or issuer and subject of a
    JWT."""

    __tablename__ = "identities"
    __table_args__ = (one_of("kind", *IDENTITY_KINDS),)

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text, primary_key=True)
    person: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[created]


class SeenRoles(Base):
    """Roles of an auth manager or groups of an issuer that somebody had when they last logged in that way. ``told_by``:
    ``airflow``, or the issuer (its URL)."""

    __tablename__ = "seen_roles"

    person: Mapped[str] = mapped_column(Text, primary_key=True)
    told_by: Mapped[str] = mapped_column(Text, primary_key=True)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    seen_at: Mapped[created]


class Token(Base):
    """A credential of a program. Of the secret only the SHA-256 and the first characters are kept.

    ``grants``: what it may of what its owner may now, as ``[[role, scope], …]``; null: all.
    """

    __tablename__ = "tokens"
    __table_args__ = (
        UniqueConstraint("digest"),
        Index("uq_tokens_person_name", "person", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[bigint_key]
    person: Mapped[str]
    name: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    prefix: Mapped[str]
    grants: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_by: Mapped[str]
    created_at: Mapped[created]
    until: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]


class AuditRecord(Base):
    """What somebody did, or was refused. Written in the transaction of the effect; never changed, and kept for two
    years at least: a trigger of the database holds that.

    ``action``: as the table of rights calls it. ``object``: what it was done to, in words. ``ids``: the rows that it
    touched, of the kind that the action is about, a thousand at most. ``key``: the caller's own, of a write that may be
    sent twice. ``run_key``: the run of a DAG that did it.
    """

    __tablename__ = "audit"
    __table_args__ = (
        one_of("known_by", *KNOWN_BY),
        one_of("outcome", *OUTCOMES),
        Index("ix_audit_at", "at"),
        Index("ix_audit_person_at", "person", "at"),
    )

    id: Mapped[bigint_key]
    at: Mapped[created]
    person: Mapped[str]
    known_by: Mapped[str]
    on_behalf_of: Mapped[str | None]
    address: Mapped[str | None]
    token_id: Mapped[int | None]
    action: Mapped[str]
    object: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    key: Mapped[str | None]
    run_key: Mapped[str | None]
    ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"))


class KeyedCall(Base):
    """A call that may be sent twice, by the key that its sender gave it. ``digest``: SHA-256 of all that was sent.

    ``begun``: noted, and not done; who does it holds the row. ``done``: its answer (``status`` and ``location`` of
    HTTP, ``answer`` in JSON) was written with its effect.
    """

    __tablename__ = "idempotency"
    __table_args__ = (one_of("state", "begun", "done"), Index("ix_idempotency_at", "at"))

    person: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text, server_default="begun")
    at: Mapped[created]
    status: Mapped[int | None] = mapped_column(SmallInteger)
    location: Mapped[str | None]
    answer: Mapped[str | None]


class Errand(Base):
    """What somebody asked for over REST, and a run of a DAG does. Whether they may is asked again when it is done:
    ``manager_roles`` are what they had in the auth manager when they asked, which cannot be looked up later.

    ``what``: in words. ``tries``: how often it was begun. ``run_key``: the run that began it last. ``answer``: of one
    that is done; ``problem``: why it was refused, or failed.
    """

    __tablename__ = "errands"
    __table_args__ = (
        one_of("kind", *ERRAND_KINDS),
        one_of("state", *ERRAND_STATES),
        one_of("known_by", *KNOWN_BY),
        Index("ix_errands_open", "id", postgresql_where=text("state IN ('waiting', 'running')")),
        Index("ix_errands_person", "person", "id"),
    )

    id: Mapped[bigint_key]
    kind: Mapped[str]
    state: Mapped[str] = mapped_column(Text, server_default="waiting")
    what: Mapped[str]
    arguments: Mapped[dict[str, Any]] = mapped_column(JSONB)
    person: Mapped[str]
    known_by: Mapped[str]
    manager_roles: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    on_behalf_of: Mapped[str | None]
    address: Mapped[str | None]
    token_id: Mapped[int | None]
    key: Mapped[str | None]
    tries: Mapped[smallint] = mapped_column(server_default="0")
    run_key: Mapped[str | None]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[created]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ErrandPiece(Base):
    """A piece of what was sent with an errand, compressed; they go when it ends. ``number``: from 0."""

    __tablename__ = "errand_pieces"

    errand_id: Mapped[int] = mapped_column(ForeignKey("errands.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    piece: Mapped[bytes] = mapped_column(LargeBinary)


class SigningKey(Base):
    """A secret of this installation, made by the migration. ``purpose``: what it signs (``cursor``: of pages)."""

    __tablename__ = "signing_keys"

    purpose: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[created]
