"""What people hold, their tokens, and what the audit says of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dynamo_ops.access import audit, grants, identity, seen_roles, tokens
from dynamo_ops.access.actions import AccessError, Action, Target, may
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope, shell_person, task_person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database

ROOT_USER = shell_person("root")
NEW_GROUP = "INSERT INTO groups (name, ownership_level) VALUES ('g', 'dataset')"
GERMAN = Grant(Role.SITE_ADMIN, Scope.parse("site:T2_DE_*"))


def person(db: Database, name: str, *manager_roles: str) -> Person:
    with db.begin() as connection:
        return grants.person_of(connection, name, KnownBy.AIRFLOW, manager_roles=manager_roles)


def by_token(db: Database, secret: str) -> Person:
    with db.begin() as connection:
        return tokens.owner_of(
            connection, secret, lambda name: grants.person_of(connection, name, KnownBy.TOKEN, default=None)
        )


def group(db: Database, name: str) -> None:
    with db.begin() as connection:
        connection.execute(text("INSERT INTO groups (name, ownership_level) VALUES (:name, 'dataset')"), {"name": name})


def noted(db: Database) -> list[tuple[object, ...]]:
    return list(audit.records(db).select("person", "known_by", "action", "outcome").iter_rows())


def test_what_somebody_holds(database: Database) -> None:
    assert person(database, "ada").grants == (Grant(Role.VIEWER),)
    assert person(database, "ada", "op").grants == (Grant(Role.OPERATOR),)
    grants.grant(database, "ada", GERMAN, by=ROOT_USER, reason="new at DESY")
    grants.grant(database, "@user", Grant(Role.USER), by=ROOT_USER, reason="all")
    assert person(database, "ada").grants == (GERMAN,)
    assert set(person(database, "ada", "user").grants) == {GERMAN, Grant(Role.USER)}
    over = datetime.now(UTC) - timedelta(seconds=1)
    grants.grant(database, "ada", GERMAN, by=ROOT_USER, reason="until yesterday", until=over)
    assert person(database, "ada").grants == (Grant(Role.VIEWER),)
    assert grants.grants(database, "ada").height == 1


def test_a_role_is_taken_back(database: Database) -> None:
    grants.grant(database, "ada", GERMAN, by=ROOT_USER, reason="new at DESY")
    with pytest.raises(InventoryError, match=r"ada does not hold operator; they hold site_admin of site:T2_DE_\*"):
        grants.revoke(database, "ada", Grant(Role.OPERATOR), by=ROOT_USER, reason="never had it")
    grants.revoke(database, "ada", GERMAN, by=ROOT_USER, reason="left")
    assert person(database, "ada").grants == (Grant(Role.VIEWER),)
    assert [outcome for *_, outcome in noted(database)] == ["done", "failed", "done"]


def test_who_may_not_give_rights_is_refused_and_noted(database: Database) -> None:
    eve = person(database, "eve", "op")
    with pytest.raises(AccessError, match=r"eve may not give rights, .*: it needs admin; they hold oper"):
        grants.grant(database, "eve", Grant(Role.ADMIN), by=eve, reason="because")
    assert grants.grants(database).is_empty()
    assert noted(database) == [("eve", "airflow", "give rights, and others' tokens", "refused")]


def test_members(database: Database) -> None:
    group(database, "physics")
    manager = Person("mia", KnownBy.AIRFLOW, (Grant(Role.MANAGER, Scope.parse("group:physics")),))
    grants.set_member(database, "physics", "ada", by=manager, is_member=True)
    grants.set_member(database, "physics", "ada", by=manager, is_member=True)
    assert person(database, "ada").groups == {"physics"}
    with pytest.raises(InventoryError, match=r"there is no group 'physic'\. Did you mean physics\?"):
        grants.set_member(database, "physic", "ada", by=manager, is_member=True)
    group(database, "higgs")
    with pytest.raises(AccessError):
        grants.set_member(database, "higgs", "ada", by=manager, is_member=True)
    grants.set_member(database, "physics", "ada", by=manager, is_member=False)
    assert grants.members(database).is_empty()


def test_whose_certificate_it_is(database: Database) -> None:
    identity.set_identity(database, KnownBy.CERTIFICATE, "/DC=ch/CN=ada", "ada", by=ROOT_USER)
    with database.begin() as connection:
        assert identity.identified(connection, KnownBy.CERTIFICATE, "/DC=ch/CN=ada") == "ada"
        with pytest.raises(AccessError, match="belongs to nobody"):
            identity.identified(connection, KnownBy.JWT, "/DC=ch/CN=ada")


def test_roles_that_an_issuer_told_count_while_it_is_believed(database: Database) -> None:
    iam, other = "https://iam.example.org/", "https://other.example.org/"
    with database.begin() as connection:
        seen_roles.note_roles(connection, "ada", seen_roles.AIRFLOW, ["op"])
        seen_roles.note_roles(connection, "ada", iam, ["/cms/ops", "/cms"])
        seen_roles.note_roles(connection, "ada", other, ["/atlas"])
        seen_roles.note_roles(connection, "ada", iam, ["/cms"])
        assert seen_roles.seen_roles(connection, "ada", 30, [iam, other]) == ("/atlas", "/cms", "op")
        assert seen_roles.seen_roles(connection, "ada", 30, [iam]) == ("/cms", "op")
        assert seen_roles.seen_roles(connection, "ada", 30, []) == ("op",)
        assert seen_roles.seen_roles(connection, "ada", 0, [iam]) == seen_roles.seen_roles(connection, "eve", 30, [iam])


def test_a_token_is_its_owner_for_some_time(database: Database) -> None:
    grants.grant(database, "ada", GERMAN, by=ROOT_USER, reason="new at DESY")
    ada = person(database, "ada")
    token = tokens.make(database, "nightly", days=30, by=ada)
    used = by_token(database, token.secret)
    assert (used.name, used.known_by, used.grants, used.token_id) == ("ada", KnownBy.TOKEN, (GERMAN,), token.id)
    (row,) = tokens.tokens(database, "ada").to_dicts()
    assert row["last_used_at"] is not None
    assert token.secret not in str(row)
    assert row["prefix"] == token.secret[:12]
    with pytest.raises(InventoryError, match="ada has a token 'nightly'"):
        tokens.make(database, "nightly", days=30, by=ada)
    grants.revoke(database, "ada", GERMAN, by=ROOT_USER, reason="left")
    assert by_token(database, token.secret).grants == ()


def test_a_token_is_refused_when_it_is_over_or_revoked(database: Database) -> None:
    ada = person(database, "ada")
    token = tokens.make(database, "nightly", days=30, by=ada)
    with pytest.raises(AccessError, match="the token is not known"):
        by_token(database, token.secret + "x")
    tokens.revoke(database, token.id, by=ada)
    with pytest.raises(AccessError, match="the token is revoked"):
        by_token(database, token.secret)
    with pytest.raises(InventoryError, match="there is no token"):
        tokens.revoke(database, token.id, by=ada)
    over = tokens.make(database, "nightly", days=-1, by=ada)
    with pytest.raises(AccessError, match="the token is over"):
        by_token(database, over.secret)
    tokens.make(database, "nightly", days=1, by=ada)


def test_a_token_may_less_than_its_owner(database: Database) -> None:
    bob = Person("bob", KnownBy.AIRFLOW, (Grant(Role.OPERATOR), GERMAN))
    desy = Grant(Role.SITE_ADMIN, Scope.parse("site:T2_DE_DESY"))
    token = tokens.make(database, "desy", days=1, by=bob, grants=[desy])
    for held, left in ([GERMAN, (desy,)], [Grant(Role.OPERATOR), ()], [desy, (desy,)]):
        grants.grant(database, "bob", held, by=ROOT_USER, reason="as it is")  # type: ignore[arg-type]
        assert by_token(database, token.secret).grants == left
        grants.revoke(database, "bob", held, by=ROOT_USER, reason="as it was")  # type: ignore[arg-type]
    with pytest.raises(AccessError, match=r"bob does not hold admin: a token may not do more than its owner"):
        tokens.make(database, "admin", days=1, by=bob, grants=[Grant(Role.ADMIN)])


def test_a_token_of_anybody_may_only_read_if_it_shall(database: Database) -> None:
    bob = Person("bob", KnownBy.AIRFLOW, (GERMAN,))
    token = tokens.make(database, "dashboard", days=1, by=bob, grants=[Grant(Role.VIEWER)])
    grants.grant(database, "bob", GERMAN, by=ROOT_USER, reason="new at DESY")
    used = by_token(database, token.secret)
    assert used.grants == (Grant(Role.VIEWER),)
    may(used, Action.READ)
    with pytest.raises(AccessError):
        may(used, Action.OPERATE_SITE, Target(sites=("T2_DE_DESY",)))


@pytest.mark.parametrize("days", [1e12, float("inf"), float("nan")])
def test_a_token_for_ages_is_refused(database: Database, days: float) -> None:
    with pytest.raises(InventoryError, match="3,660 are the most"):
        tokens.make(database, "for ever", days=days, by=ROOT_USER, person="crab")


def test_nobody_is_called_as_a_role_is(database: Database) -> None:
    grants.grant(database, "@op", Grant(Role.OPERATOR), by=ROOT_USER, reason="operators of Airflow")
    with pytest.raises(AccessError, match="'@op' is no name of a person"):
        person(database, "@op")


def test_tokens_are_one_s_own_and_end(database: Database) -> None:
    ada, bob = person(database, "ada"), person(database, "bob", "admin")
    with pytest.raises(AccessError, match="for 90 days at most"):
        tokens.make(database, "long", days=91, by=ada)
    with pytest.raises(AccessError, match="it needs admin"):
        tokens.make(database, "bob's", days=1, by=ada, person="bob")
    made = tokens.make(database, "service", days=365, by=bob, person="crab")
    assert by_token(database, made.secret).name == "crab"
    with pytest.raises(AccessError):
        tokens.revoke(database, made.id, by=ada)
    tokens.revoke(database, made.id, by=bob)


def test_an_act_is_noted_with_its_effect_or_not_at_all(database: Database) -> None:
    with suppress(ZeroDivisionError), audit.acting(database, ROOT_USER, Action.LOCK, "/a", "thesis") as act:
        act.connection.execute(text(NEW_GROUP))
        raise ZeroDivisionError
    assert noted(database) == []
    with audit.acting(database, replace(ROOT_USER, key="k"), Action.LOCK, "/a", "thesis") as act:
        act.is_dry_run = True
        act.connection.execute(text(NEW_GROUP))
        act.ids = [1]
    with audit.acting(database, task_person("detox"), Action.LOCK, "/a", run_key="run 1") as act:
        act.ids = list(range(2_000))
    newest, dry = audit.records(database).to_dicts()
    assert (dry["outcome"], dry["reason"], dry["key"], dry["ids"], dry["known_by"]) == (
        "dry_run",
        "thesis",
        "k",
        [],
        "shell",
    )
    assert (newest["person"], newest["known_by"], newest["run_key"], len(newest["ids"])) == (
        "detox",
        "dag",
        "run 1",
        1000,
    )
    assert database.frame("SELECT 1 AS n FROM groups").is_empty()


def test_a_refusal_undoes_what_was_begun(database: Database) -> None:
    eve = Person("eve", KnownBy.TOKEN, address="10.0.0.1", on_behalf_of="ada")
    with suppress(AccessError), audit.acting(database, eve, Action.LOCK, "/a") as act:
        act.connection.execute(text(NEW_GROUP))
        act.check(Target())
    (row,) = audit.records(database, person="ev", action="lock", outcome="refused").to_dicts()
    assert (row["on_behalf_of"], row["address"]) == ("ada", "10.0.0.1")
    assert database.frame("SELECT 1 AS n FROM groups").is_empty()


def test_the_audit_is_never_changed_and_kept_for_two_years(database: Database) -> None:
    grants.grant(database, "ada", GERMAN, by=ROOT_USER, reason="new at DESY")
    for statement in ("UPDATE audit SET person = 'eve'", "DELETE FROM audit"):
        with pytest.raises(DBAPIError, match="the audit is never changed"), database.begin() as connection:
            connection.execute(text(statement))
    with database.begin() as connection:
        connection.execute(
            text("""INSERT INTO audit (at, person, known_by, action, object, outcome)
                    VALUES (now() - interval '3 years', 'x', 'shell', 'lock', '/a', 'done')""")
        )
    assert audit.prune(database, before=datetime.now(UTC) - timedelta(days=731)) == 1
    assert noted(database) == [("root", "shell", "give rights, and others' tokens", "done")]
