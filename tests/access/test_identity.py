"""How a DN is written, and whose it is."""

from __future__ import annotations

import pytest

from dynamo_ops.access import identity
from dynamo_ops.access.person import KnownBy
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from tests.people import ROOT_USER


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("/DC=ch/DC=cern/CN=ada", "/DC=ch/DC=cern/CN=ada"),
        ("CN=ada,DC=cern,DC=ch", "/DC=ch/DC=cern/CN=ada"),
        ("CN=Lovelace\\, Ada,O=Analytical Engines", "/O=Analytical Engines/CN=Lovelace, Ada"),
        ("CN=Zo\\C3\\AB,C=CH", "/C=CH/CN=Zoë"),
        ("CN=host/dynamo.example.org,C=CH", "/C=CH/CN=host/dynamo.example.org"),
        ("emailAddress=ada@example.org,CN=ada", "/CN=ada/emailAddress=ada@example.org"),
        ("serialNumber=7,CN=ada", "/CN=ada/serialNumber=7"),
    ],
)
def test_a_dn_is_kept_with_slashes(written: str, kept: str) -> None:
    assert identity.slash_dn(written) == kept


@pytest.mark.parametrize(
    "written", ["", "ada", "/ada", "/", "/=x", "CN=", "CN=x/CN=ada,C=CH", "C=CH,CN=x/emailAddress=a"]
)
def test_what_is_none_or_could_be_another_s_is_refused(written: str) -> None:
    with pytest.raises(InventoryError, match="DN"):
        identity.slash_dn(written)


def test_who_has_which(database: Database) -> None:
    assert identity.set_identity(database, KnownBy.CERTIFICATE, "CN=ada,C=CH", "ada", by=ROOT_USER) == "/C=CH/CN=ada"
    identity.set_identity(database, KnownBy.JWT, "https://iam.example.org/|7", "bob", by=ROOT_USER)
    assert identity.identities(database).select("person", "kind", "value").rows() == [
        ("ada", "certificate", "/C=CH/CN=ada"),
        ("bob", "jwt", "https://iam.example.org/|7"),
    ]
    assert identity.identities(database, "bob")["person"].to_list() == ["bob"]
    identity.set_identity(database, KnownBy.CERTIFICATE, "/C=CH/CN=ada", "eve", by=ROOT_USER)
    assert identity.identities(database, "ada").is_empty()
    identity.set_identity(database, KnownBy.CERTIFICATE, "/C=CH/CN=ada", None, by=ROOT_USER)
    assert identity.identities(database).height == 1


@pytest.mark.parametrize(
    ("kind", "value", "person", "error"),
    [
        (KnownBy.JWT, "https://iam.example.org/", "ada", r"write ISSUER\|SUBJECT"),
        (KnownBy.JWT, "|7", "ada", r"write ISSUER\|SUBJECT"),
        (KnownBy.CERTIFICATE, "ada", "ada", "is no DN"),
        (KnownBy.CERTIFICATE, "/CN=ada", "@op", "is no name of a person"),
        (KnownBy.CERTIFICATE, "/CN=ada", " ", "is no name of a person"),
        (KnownBy.CERTIFICATE, "/CN=ada", None, "is nobody's already"),
    ],
)
def test_what_is_no_identity_is_refused(
    database: Database, kind: KnownBy, value: str, person: str | None, error: str
) -> None:
    with pytest.raises(InventoryError, match=error):
        identity.set_identity(database, kind, value, person, by=ROOT_USER)
