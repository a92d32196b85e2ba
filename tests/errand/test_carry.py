"""Errands are done once, by whichever run comes; what is refused is an answer, and what fails is told apart from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.access import audit, grants, tokens
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import PermanentRemoteError, PolicyError, RetryableRemoteError
from dynamo_ops.base.settings import AccessSettings, Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.errand import carry, document, store, trial
from dynamo_ops.errand.carry import Deed, ErrandError, Fate, carry_out
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.errand.store import Errand
from dynamo_ops.query.record.errand import errand_card
from tests.people import ROOT_USER

OLGA = Person("olga", KnownBy.TOKEN, (Grant(Role.OPERATOR),), key="k1")
RUN = "errands/errand__1"


def settings_of(database: Database, folder: Path, **access: Any) -> Settings:
    (folder / "partitions.txt").write_text("physics: dataset.name == /*/*/*\n")
    return Settings(home=folder, config_dir=folder, db_url=database.url, access=AccessSettings(**access))


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    grants.grant(database, "olga", Grant(Role.OPERATOR), by=ROOT_USER, reason="of the test")
    return settings_of(database, tmp_path)


def dataset(name: str) -> dict[str, Any]:
    return {"datasets": [{"name": name}]}


def packed(body: bytes) -> list[bytes]:
    """As what is sent in two parts."""
    packer = store.Packer()
    whole = packer.pack(body[:7]) + packer.pack(body[7:]) + packer.flush()
    return [whole[at : at + store.PIECE_BYTES] for at in range(0, len(whole), store.PIECE_BYTES)]


def ask(database: Database, sent: object, *, by: Person = OLGA, dry_run: bool = False) -> int:
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return document.ask_document(
        database,
        ErrandKind.INJECTION,
        size_bytes=len(body),
        pieces=packed(body),
        dry_run=dry_run,
        by=by,
    )


def rows(database: Database, sql: str) -> list[tuple[Any, ...]]:
    with database.begin() as connection:
        answer = connection.execute(text(sql))
        return [tuple(row) for row in answer] if answer.returns_rows else []


def names(database: Database) -> list[str]:
    return [name for (name,) in rows(database, "SELECT name FROM datasets ORDER BY 1")]


def test_all_that_wait_are_done_and_answered(database: Database, settings: Settings) -> None:
    first, second = ask(database, dataset("/A/B-v1/AOD")), ask(database, dataset("/C/D-v1/AOD"))
    assert names(database) == []
    card = errand_card(database, first)
    assert (card["state"], card["run_key"], card["person"], card["answer"]) == ("waiting", None, "olga", None)
    assert carry_out(database, settings, RUN) == {"done": 2, "refused": 0}
    assert names(database) == ["/A/B-v1/AOD", "/C/D-v1/AOD"]
    for errand_id in (first, second):
        card = errand_card(database, errand_id)
        assert (card["state"], card["run_key"], card["problem"]) == ("done", RUN, None)
        assert card["answer"]["datasets"] == {"new": 1, "changed": 0, "unchanged": 0}
        assert card["created_at"] <= card["started_at"] <= card["ended_at"]
    assert rows(database, "SELECT * FROM errand_pieces") == []
    assert carry_out(database, settings, RUN) == {"done": 0, "refused": 0}
    noted = audit.records(database, person="olga").reverse()
    assert noted["object"].to_list()[0] == "asked for an injection: 39 B of JSON"
    assert noted.select("outcome", "key").rows() == [("done", "k1")] * 4


def test_a_dry_run_changes_nothing(database: Database, settings: Settings) -> None:
    errand_id = ask(database, dataset("/A/B-v1/AOD"), dry_run=True)
    assert carry_out(database, settings, RUN)["done"] == 1
    answer = errand_card(database, errand_id)["answer"]
    assert (answer["datasets"]["new"], answer["dry_run"]) == (1, True)
    assert names(database) == []
    assert audit.records(database, person="olga")["outcome"].to_list() == ["dry_run", "done"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"datasets": [{"nmae": "x"}]}, "datasets[0]"),
        (b'{"datasets"', "no JSON that can be read"),
        (b"[" * 100_000, "no JSON that can be read"),
        (b'{"datasets": [{"name": "\xff"}]}', "no JSON that can be read"),
        (b'{"datasets": [{"name": "/A/\\u0000-v1/AOD"}]}', "a NUL"),
    ],
    ids=["unknown field", "broken", "deep", "no text", "NUL"],
)
def test_what_is_wrong_is_the_answer_and_no_failure_of_the_run(
    database: Database, settings: Settings, sent: object, words: str
) -> None:
    wrong, right = ask(database, sent), ask(database, dataset("/A/B-v1/AOD"))
    assert carry_out(database, settings, RUN) == {"done": 1, "refused": 1}
    card = errand_card(database, wrong)
    assert (card["state"], card["answer"]) == ("failed", None)
    problem = card["problem"]
    assert (problem["status"], problem["type"]) == (422, "urn:dynamo:error:inventory")
    assert words in problem["detail"]
    assert errand_card(database, right)["state"] == "done"
    assert rows(database, "SELECT * FROM errand_pieces") == []


def test_rights_are_asked_when_it_is_asked_for_and_when_it_is_done(database: Database, settings: Settings) -> None:
    with pytest.raises(Exception, match="eve may not inject"):
        ask(database, dataset("/A/B-v1/AOD"), by=Person("eve", KnownBy.AIRFLOW, (Grant(Role.VIEWER),)))
    assert rows(database, "SELECT * FROM errands") == []
    errand_id = ask(database, dataset("/A/B-v1/AOD"))
    grants.revoke(database, "olga", Grant(Role.OPERATOR), by=ROOT_USER, reason="has left")
    assert carry_out(database, settings, RUN) == {"done": 0, "refused": 1}
    problem = errand_card(database, errand_id)["problem"]
    assert (problem["status"], problem["type"]) == (403, "urn:dynamo:error:access")
    assert names(database) == []
    noted = audit.records(database, action="inject")
    assert noted.select("person", "outcome").rows() == [("olga", "refused"), ("olga", "done"), ("eve", "refused")]


def test_a_producer_may_only_what_the_document_names_in_their_scope(database: Database, settings: Settings) -> None:
    held = Grant(Role.PRODUCER, Scope.parse("namespace:/A/*"))
    grants.grant(database, "petra", held, by=ROOT_USER, reason="of the test")
    petra = Person("petra", KnownBy.CERTIFICATE, (held,))
    ask(database, dataset("/B/B-v1/AOD"), by=petra)
    assert carry_out(database, settings, RUN) == {"done": 0, "refused": 1}
    assert names(database) == []


def test_a_token_that_is_over_when_it_is_done_does_nothing(database: Database, settings: Settings) -> None:
    made = tokens.make(database, "t", days=1, by=ROOT_USER, person="olga", grants=[Grant(Role.OPERATOR)])
    olga = replace(OLGA, token_id=made.id)
    done = ask(database, dataset("/A/B-v1/AOD"), by=olga)
    assert carry_out(database, settings, RUN)["done"] == 1
    late = ask(database, dataset("/C/D-v1/AOD"), by=olga)
    tokens.revoke(database, made.id, by=ROOT_USER)
    assert carry_out(database, settings, RUN)["refused"] == 1
    assert "revoked" in errand_card(database, late)["problem"]["detail"]
    assert names(database) == ["/A/B-v1/AOD"]
    newest = audit.records(database, limit=1).row(0, named=True)
    assert (newest["person"], newest["outcome"], newest["token"]) == ("olga", "refused", "t")
    assert errand_card(database, done)["state"] == "done"


def test_roles_of_the_auth_manager_count_as_they_were_by_the_map_of_today(database: Database, tmp_path: Path) -> None:
    oskar = Person("oskar", KnownBy.AIRFLOW, (Grant(Role.OPERATOR),), manager_roles=("expert",))
    ask(database, dataset("/A/B-v1/AOD"), by=oskar)
    ask(database, dataset("/C/D-v1/AOD"), by=oskar)
    mapped = settings_of(database, tmp_path, map={"expert": ["operator"]})
    assert carry_out(database, mapped, RUN)["done"] == 2
    ask(database, dataset("/E/F-v1/AOD"), by=oskar)
    assert carry_out(database, settings_of(database, tmp_path), RUN)["refused"] == 1


def acting_as(act: Callable[[], Mapping[str, Any]]) -> dict[ErrandKind, Deed]:
    def done(
        database: Database, _settings: Settings, errand: Errand, _by: Person, _prepared: None
    ) -> Mapping[str, Any]:
        with database.begin() as connection:
            connection.execute(
                text("INSERT INTO groups (name, ownership_level) VALUES (:n, 'block')"), {"n": errand.id}
            )
        return act()

    return {ErrandKind.INJECTION: Deed(done)}


def raising(*errors: Exception | None) -> Callable[[], Mapping[str, Any]]:
    coming = iter(errors)

    def act() -> Mapping[str, Any]:
        if (error := next(coming)) is not None:
            raise error
        return {}

    return act


def groups(database: Database) -> int:
    return len(rows(database, "SELECT FROM groups WHERE name ~ '^[0-9]+$'"))


def test_what_another_try_may_mend_waits_for_it_and_holds_up_nobody(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ask(database, {}), ask(database, {})
    away = RetryableRemoteError("away", service="x")
    monkeypatch.setattr(carry, "DEEDS", acting_as(raising(away, None, *[away] * 4, None)))
    with pytest.raises(RetryableRemoteError):
        carry_out(database, settings, RUN)
    assert [errand_card(database, errand_id)["state"] for errand_id in (first, second)] == ["waiting", "done"]
    assert groups(database) == 1
    for _ in range(4):  # of that nobody is given up
        with pytest.raises(RetryableRemoteError):
            carry_out(database, settings, RUN)
    assert carry_out(database, settings, RUN) == {"done": 1, "refused": 0}
    assert groups(database) == 2


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), PermanentRemoteError("secret")], ids=repr)
def test_what_fails_by_a_fault_of_ours_is_told_and_not_tried_again(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first, second = ask(database, {}), ask(database, {})
    monkeypatch.setattr(carry, "DEEDS", acting_as(raising(error, None)))
    with pytest.raises(ErrandError, match=f"errands {first} failed"):
        carry_out(database, settings, RUN)
    problem = errand_card(database, first)["problem"]
    assert problem["status"] >= 500
    assert "secret" not in json.dumps(problem)
    assert errand_card(database, second)["state"] == "done"
    assert groups(database) == 1
    assert carry_out(database, settings, RUN) == {"done": 0, "refused": 0}


def test_one_that_kills_its_run_is_given_up(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As memory's killer does: nothing is written down after it has begun. Others come first from then on."""
    deadly = ask(database, {})
    killed = SystemExit()
    monkeypatch.setattr(carry, "DEEDS", acting_as(raising(*[killed] * 2, None, killed)))
    for _ in range(2):
        with pytest.raises(SystemExit):
            carry_out(database, settings, RUN)
    assert errand_card(database, deadly)["state"] == "running"
    other = ask(database, {})
    with pytest.raises(SystemExit):
        carry_out(database, settings, RUN)
    assert errand_card(database, other)["state"] == "done"
    with pytest.raises(ErrandError):
        carry_out(database, settings, RUN)
    assert "its run died each time" in errand_card(database, deadly)["problem"]["detail"]


def test_two_runs_at_once_do_each_errand_once(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(database, {})
    other = Database(database.url)

    def act() -> Mapping[str, Any]:
        assert carry_out(other, settings, "errands/other") == {"done": 0, "refused": 0}
        return {}

    monkeypatch.setattr(carry, "DEEDS", acting_as(act))
    assert carry_out(database, settings, RUN)["done"] == 1
    assert groups(database) == 1
    other.dispose()


def test_what_a_killed_try_of_the_same_run_still_holds_is_tried_again(database: Database, settings: Settings) -> None:
    """PostgreSQL notices late that somebody is gone who was killed in a long statement."""
    errand_id = ask(database, dataset("/A/B-v1/AOD"))
    killed = Database(database.url)
    with alone(killed, f"errand {errand_id}") as held:
        assert held is not None
        store.begin(killed, errand_id, RUN)
        with pytest.raises(RetryableRemoteError, match="a try of this run that has died"):
            carry_out(database, settings, RUN)
        assert carry_out(database, settings, "errands/other") == {"done": 0, "refused": 0}
    assert carry_out(database, settings, RUN) == {"done": 1, "refused": 0}
    killed.dispose()


def test_a_run_whose_lock_was_lost_does_not_do_it_twice(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that says that it is at work breaks; another run begins it, and finds its row held."""
    errand_id = ask(database, {})
    other = Database(database.url)

    def act() -> Mapping[str, Any]:
        begun = store.begin(other, errand_id, "errands/other")
        assert begun is not None
        assert carry._carry_out(other, settings, begun) is Fate.LEFT
        return {}

    def begin(*_: object) -> Errand:
        return replace(asked, id=errand_id)

    asked = store.begin(database, errand_id, RUN)
    assert asked is not None
    monkeypatch.setattr(store, "begin", begin)
    monkeypatch.setattr(carry, "DEEDS", acting_as(act))
    assert carry._carry_out(database, settings, asked) is Fate.DONE
    assert groups(database) == 1
    other.dispose()


def test_a_problem_is_what_rest_would_have_answered(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    errand_id = ask(database, {})
    monkeypatch.setattr(carry, "DEEDS", acting_as(raising(PolicyError("line 3", line=3))))
    carry_out(database, settings, RUN)
    assert errand_card(database, errand_id)["problem"] == {
        "type": "urn:dynamo:error:policy",
        "title": HTTPStatus(422).phrase,
        "status": 422,
        "detail": "line 3",
        "facts": {"line": 3},
        "next_step": "Mend what is named, and ask again.",
    }


def test_large_documents_are_kept_in_pieces_and_read_again(database: Database) -> None:
    body = json.dumps([f"/store/{number * 7919 % 1_000_003:x}" for number in range(500_000)]).encode()
    errand_id = ask(database, body)
    sizes = [size for (size,) in rows(database, "SELECT octet_length(piece) FROM errand_pieces")]
    assert len(sizes) > 1
    assert sum(sizes) < len(body) / 2
    with database.begin() as connection:
        assert store.sent(connection, errand_id) == body


def test_what_ended_long_ago_is_forgotten_and_what_waits_is_told(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ask(database, dataset("/A/B-v1/AOD"))
    carry_out(database, settings, RUN)
    waiting = ask(database, {})
    assert trial.forget_old(database, settings) == 0
    assert trial.forget_old(database, settings, datetime.now(UTC) + timedelta(days=1)) == 1
    assert rows(database, "SELECT id FROM errands") == [(waiting,)]
    with caplog.at_level(logging.WARNING):
        assert (store.tell_waiting(database), caplog.text) == (1, "")
        rows(database, "UPDATE errands SET created_at = now() - interval '7 hours'")
        assert store.tell_waiting(database) == 1
    assert "1 errands wait" in caplog.text


def test_what_is_lost_leaves_the_inventory(database: Database, settings: Settings) -> None:
    ask(database, dataset("/A/B-v1/AOD"))
    carry_out(database, settings, RUN)

    def ask_to_invalidate(sent: object) -> dict[str, Any]:
        body = json.dumps(sent).encode()
        errand_id = document.ask_document(
            database,
            ErrandKind.INVALIDATION,
            size_bytes=len(body),
            pieces=packed(body),
            dry_run=False,
            by=OLGA,
        )
        carry_out(database, settings, RUN)
        return errand_card(database, errand_id)

    lost = {"document": {"datasets": ["/A/B-v1/AOD"]}, "reason": "lost"}
    for wrong, words in (
        ({**lost, "resaon": "x"}, "resaon: Extra inputs are not permitted"),
        ([], "valid dictionary"),
        ({**lost, "expected_files": 2}, "not 2"),
        ({**lost, "reason": " "}, "say why"),
    ):
        assert words in ask_to_invalidate(wrong)["problem"]["detail"]
    assert ask_to_invalidate(lost)["answer"]["num_datasets"] == 1
    assert names(database) == []
