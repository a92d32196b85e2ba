"""Other names of a person: the DN of a certificate that a trusted proxy verified, issuer and subject of a JWT."""

from __future__ import annotations

import re

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import NOTHING, AccessError, Action
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import KnownBy, Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database

_OTHER_NAMES = {
    "emailAddress": "1.2.840.113549.1.9.1",
    "serialNumber": "2.5.4.5",
    "SN": "2.5.4.4",
    "GN": "2.5.4.42",
    "title": "2.5.4.12",
}
"""Parts of a DN that RFC 4514 does not name, as OpenSSL does."""
_BEGINS_PART = re.compile(r"/[A-Za-z][A-Za-z0-9.-]*=")


def slash_dn(written: str) -> str:
    """A DN as the grid writes it, ``/DC=ch/DC=cern/CN=ada``; ``written`` so or by RFC 4514 (``CN=ada,DC=cern,DC=ch``).

    InventoryError: it is neither, or a value in it reads like more parts: two people would be one.
    """
    if written.startswith("/"):
        if not _BEGINS_PART.match(written):
            raise InventoryError(f"{written!r} is no DN: write it as /DC=ch/DC=cern/CN=ada", value=written)
        return written
    from cryptography import x509  # slow to import, and most DNs come as they are kept

    numbers = {name: x509.ObjectIdentifier(number) for name, number in _OTHER_NAMES.items()}
    names = {number: name for name, number in numbers.items()}
    try:
        name = x509.Name.from_rfc4514_string(written, numbers)
    except ValueError as error:
        raise InventoryError(
            f"{written!r} is no DN ({error}): write it as /DC=ch/DC=cern/CN=ada", value=written
        ) from None
    parts = [f"/{names.get(part.oid, part.rfc4514_attribute_name)}={part.value!s}" for rdn in name.rdns for part in rdn]
    if not parts or any(_BEGINS_PART.search(part, 1) for part in parts):
        raise InventoryError(f"the DN {written!r} could be read as another: it is nobody's", value=written)
    return "".join(parts)


def identified(connection: Connection, kind: KnownBy, value: str) -> str:
    """Whose the DN (as ``slash_dn`` writes it) or the JWT's ``issuer|subject`` is. AccessError: nobody's."""
    person = connection.execute(
        text("SELECT person FROM identities WHERE kind = :kind AND value = :value"), {"kind": kind, "value": value}
    ).scalar_one_or_none()
    if person is None:
        raise AccessError(
            f"the {kind} {value!r} belongs to nobody whom Dynamo knows; an admin says whose it is: "
            f"`dynamo access identity {kind} '{value}' PERSON`",
            needs=[f"an identity {value!r}"],
        )
    return str(person)


def set_identity(database: Database, kind: KnownBy, value: str, name: str | None, *, by: Person) -> str:
    """Say whose a DN or ``issuer|subject`` is; None: nobody's any more. Returns it as it is kept.

    InventoryError: it is no DN, or has no issuer; or the name is none of a person.
    """
    if kind is KnownBy.CERTIFICATE:
        value = slash_dn(value)
    elif not all(value.partition("|")):
        raise InventoryError(f"{value!r} is no JWT's: write ISSUER|SUBJECT", value=value)
    if name is not None and (not name.strip() or name.startswith("@")):
        raise InventoryError(f"{name!r} is no name of a person", value=name)
    with acting(database, by, Action.GRANT, f"{kind} {value} is {name or 'nobody'}") as act:
        act.check(NOTHING)
        key = {"kind": kind, "value": value}
        gone = act.connection.execute(
            text("DELETE FROM identities WHERE kind = :kind AND value = :value"), key
        ).rowcount
        if name is not None:
            act.connection.execute(
                text("INSERT INTO identities (kind, value, person, created_by) VALUES (:kind, :value, :person, :by)"),
                key | {"person": name, "by": by.name},
            )
        elif not gone:
            raise InventoryError(f"the {kind} {value!r} is nobody's already", value=value)
    return value


def identities(database: Database, person: str | None = None) -> pl.DataFrame:
    """Columns: kind, value, person, created_by, created_at; of everybody, or of one."""
    return database.frame(
        """SELECT kind, value, person, created_by, created_at FROM identities
           WHERE ($1::text IS NULL OR person = $1) ORDER BY person, kind, value""",
        (person,),
    )
