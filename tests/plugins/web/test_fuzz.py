"""Calls that nobody thought of, made from the OpenAPI that REST publishes: none is answered by a fault of ours, and one
that is refused has changed nothing."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as of_hypothesis
from schemathesis.generation import GenerationMode

from dynamo_ops.database.connection import Database
from dynamo_ops.database.schema import Base
from tests.plugins.web.callers import headers_of
from tests.query.stock import FIRST, Stock

NOT_COUNTED = {"audit", "tokens", "seen_roles"}
"""What a call that is refused is written down in, or by which it comes in."""
FAULTS = range(500, 600)
CALLS_A_MODE, MANY = 2, 80
"""Of each operation: in the default run, and in the long one, which makes some 20,000 in all."""
MOUNT = "/dynamo"
STILL_GOOD = """
    (SELECT 'token' FROM tokens WHERE revoked_at IS NULL AND person = 'olga' ORDER BY id DESC LIMIT 1)
    UNION ALL SELECT role FROM access_grants
    WHERE subject = 'olga' AND scope = '*' AND (until IS NULL OR until > now())"""
MEANT = {
    "site": "T2_A",
    "sites": ["T2_A"],
    "dataset": FIRST,
    "datasets": [FIRST],
    "item": FIRST,
    "items": [FIRST],
    "name": FIRST,
    "group": "physics",
    "partition": "physics",
    "person": "olga",
    "subject": "olga",
    "reason": "because",
    "until": "3d",
    "since": "30d",
    "quota": "5 TB",
    "status": "ready",
    "policy": "Partition physics\nDismiss\nOrder increasing replica.size\n",
}
"""What there is, by the names of parameters and fields: put in now and then, or nothing would ever be done."""
NAMES = {"sites": "T2_A", "groups": "physics", "users": "olga", "policies": "physics", "members": "olga"}
"""What there is, by the word before it in an address."""


@dataclass
class Fuzz:
    """Somebody who calls anything. ``answers``: how often there was which status."""

    client: TestClient
    database: Database
    headers: Callable[[], dict[str, str]]
    chance: random.Random = field(default_factory=lambda: random.Random(17))
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def checksums(self) -> dict[str, tuple[int, int]]:
        """Of each table: rows, and what they hold."""
        parts = [
            f"SELECT '{name}' AS name, count(*) AS num_rows, coalesce(sum(hashtextextended(line::text, 0)), 0)::text"
            f' FROM "{name}" AS line'
            for name in Base.metadata.tables
            if name not in NOT_COUNTED
        ]
        return {row[0]: row[1:] for row in self.database.frame(" UNION ALL ".join(parts)).rows()}

    def _meant(self, case: schemathesis.Case, sent: dict[str, Any]) -> None:
        """Half of what was thought up becomes something that there is."""
        words = case.operation.path.strip("/").split("/")
        place = []
        for before, word in zip(["", *words], words, strict=False):
            is_known = word.startswith("{") and self.chance.random() < 0.7
            known = NAMES.get(before, self.chance.randint(1, 3)) if is_known else None
            place.append(word if known is None else str(known))
        if not any(word.startswith("{") for word in place):
            sent["url"] = f"http://localhost{MOUNT}/{'/'.join(place)}"
        for fields in (sent.get("params"), sent.get("json")):
            if isinstance(fields, dict):
                fields.update({name: MEANT[name] for name in {*fields} & {*MEANT} if self.chance.random() < 0.7})

    def call(self, case: schemathesis.Case) -> None:
        from dynamo_web.caller.rates import READS, WRITES

        READS.forget()
        WRITES.forget()
        sent = case.as_transport_kwargs(base_url=f"http://localhost{MOUNT}")
        headers = {name.lower(): value for name, value in (sent.pop("headers") or {}).items()} | self.headers()
        sent.pop("cookies", None)
        self._meant(case, sent)
        writes = case.method.upper() != "GET"
        before = self.checksums if writes else {}
        answer = self.client.request(**sent, headers=headers)
        self.answers[answer.status_code] += 1
        words = f"{case.method} {sent['url']} {sent.get('params')} {sent.get('json', sent.get('data'))!r:.500}"
        if answer.status_code in FAULTS:
            self.wrong.append(f"{answer.status_code}: {words}: {answer.text[:500]}")
        elif writes and answer.status_code >= 400 and self.checksums != before:
            after = self.checksums
            changed = sorted(name for name, checksum in after.items() if checksum != before[name])
            self.wrong.append(f"{answer.status_code}, and {changed} changed: {words}")


@contextmanager
def quiet() -> Iterator[None]:
    """Thousands of refusals are not told one by one."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def run(fuzz: Fuzz, document: dict[str, Any], examples: int) -> None:
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                cases = operation.as_strategy(generation_mode=mode)
            except schemathesis.errors.InvalidSchema as error:  # pragma: no cover
                raise AssertionError(f"{operation.label}: {error}") from error

            @seed(17)
            @of_hypothesis(
                max_examples=examples,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=cases)
            def send(case: schemathesis.Case) -> None:
                fuzz.call(case)

            with quiet():
                send()


def fuzzed(client: TestClient, stock: Stock, monkeypatch: pytest.MonkeyPatch, roles: list[str], examples: int) -> Fuzz:
    monkeypatch.setattr("dynamo_web.run.start._start", lambda _run_id, _by: False)
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset')")
    sent = headers_of(stock, "olga", *roles)

    def headers() -> dict[str, str]:
        """With a token that is good, and its owner's rights: the calls take back both."""
        if len(stock.rows(STILL_GOOD)) < 1 + len(roles):
            sent.update(headers_of(stock, "olga", *roles))
        return sent

    fuzz = Fuzz(client, stock.db, headers)
    run(fuzz, client.get("/openapi.json", headers=headers()).json(), examples)
    return fuzz


@pytest.mark.parametrize(
    "roles",
    [["operator", "admin"], pytest.param(["viewer"], marks=pytest.mark.slow)],
    ids=["operator and admin", "viewer"],
)
@pytest.mark.parametrize("examples", [CALLS_A_MODE, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.timeout(7200)
def test_no_call_is_a_fault_and_none_that_is_refused_changes_anything(
    client: TestClient,
    stock: Stock,
    monkeypatch: pytest.MonkeyPatch,
    roles: list[str],
    examples: int,
) -> None:
    fuzz = fuzzed(client, stock, monkeypatch, roles, examples)
    print(sum(fuzz.answers.values()), "calls:", dict(sorted(fuzz.answers.items())))
    assert fuzz.wrong == []
    assert sum(fuzz.answers.values()) > 100 * examples
    assert {200, 422} <= {*fuzz.answers}
