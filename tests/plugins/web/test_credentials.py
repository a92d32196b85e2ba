"""Credentials of others: certificates that a trusted proxy has verified, JWTs of an issuer that is believed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi.testclient import TestClient

from dynamo_ops.access import grants, identity
from dynamo_ops.access.person import Grant, KnownBy, Role
from tests.people import ROOT_USER
from tests.query.stock import Stock

SECRET = "0123456789abcdef0123456789abcdef"
DN = "/DC=ch/DC=cern/CN=ada"
HEADERS = {"x-dynamo-proxy": SECRET, "x-ssl-client-dn": DN}
PROXIED = {"proxies": [{"secret": SECRET}]}
AUDIENCE = "https://dynamo.example.org"
RSA_KEY, EC_KEY = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """Publishes keys, and signs with them."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"old": RSA_KEY}
        self.asked: list[str] = []
        self.is_away = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                document = issuer.published(self.path)
                self.send_response(503 if issuer.is_away else 200)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/iam"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def published(self, path: str) -> dict[str, Any]:
        if path.endswith("/openid-configuration"):
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        return {"keys": [self._published(name, key) for name, key in self.keys.items()]}

    @staticmethod
    def _published(name: str, key: Any) -> dict[str, Any]:
        of_kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        return {**of_kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}

    def token(self, *, kid: str = "old", algorithm: str = "RS256", key: Any = None, **claims: Any) -> dict[str, str]:
        """The header with a token that is good but for what is given; None leaves a claim out."""
        now = datetime.now(UTC)
        said = {"iss": self.url, "sub": "4711", "aud": AUDIENCE, "exp": now + timedelta(minutes=5), **claims}
        said = {name: value for name, value in said.items() if value is not None}
        signed = jwt.encode(said, self.keys[kid] if key is None else key, algorithm, headers={"kid": kid})
        return {"authorization": f"Bearer {signed}"}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def access(request: pytest.FixtureRequest, issuer: Issuer) -> dict[str, Any]:
    """As the test says; an issuer without an address is the one that runs."""
    given = dict(getattr(request, "param", PROXIED))
    given["issuers"] = [{"issuer": issuer.url, "audience": AUDIENCE, **one} for one in given.get("issuers", [{}])]
    return given


def asked(client: TestClient, headers: dict[str, str], code: int = 200) -> Any:
    answer = client.get("/me", headers=headers)
    assert answer.status_code == code, answer.text
    return answer.json()


def test_a_certificate_that_our_proxy_verified_is_its_owner_s(client: TestClient, stock: Stock) -> None:
    refused = asked(client, HEADERS, 401)
    assert f"dynamo access identity certificate '{DN}' PERSON" in refused["detail"]
    identity.set_identity(stock.db, KnownBy.CERTIFICATE, DN, "ada", by=ROOT_USER)
    grants.grant(stock.db, "ada", Grant(Role.OPERATOR), by=ROOT_USER, reason="runs it")
    ada = asked(client, HEADERS)
    assert (ada["name"], ada["known_by"]) == ("ada", "certificate")
    assert ada["grants"] == [{"role": "operator", "scope": "*"}]
    assert asked(client, {**HEADERS, "x-ssl-client-dn": "CN=ada,DC=cern,DC=ch"})["name"] == "ada"


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({"x-dynamo-proxy": "x" * 32}, "is none of ours"),
        ({"x-dynamo-proxy": ""}, "is none of ours"),
        ({"x-dynamo-proxy": SECRET[:-1]}, "is none of ours"),
        ({"x-ssl-client-dn": ""}, "no certificate"),
        ({"x-ssl-client-dn": "ada"}, "is no DN"),
        ({"x-ssl-client-dn": "/ada"}, "is no DN"),
        ({"x-ssl-client-dn": "CN=x/CN=ada,DC=cern,DC=ch"}, "could be read as another"),
        ({"x-ssl-client-dn": f"{DN} "}, "belongs to nobody"),
    ],
)
def test_a_proxy_is_believed_by_its_secret_and_a_dn_to_the_letter(
    client: TestClient, stock: Stock, headers: dict[str, str], detail: str
) -> None:
    identity.set_identity(stock.db, KnownBy.CERTIFICATE, DN, "ada", by=ROOT_USER)
    assert detail in asked(client, {**HEADERS, **headers}, 401)["detail"]


def test_without_the_secret_nobody_is_told_by_a_header(client: TestClient, stock: Stock) -> None:
    identity.set_identity(stock.db, KnownBy.CERTIFICATE, DN, "ada", by=ROOT_USER)
    assert "Not authenticated" in asked(client, {"x-ssl-client-dn": DN}, 401)["detail"]


@pytest.mark.parametrize("access", [{"issuers": []}], indirect=True)
def test_nobody_is_believed_whom_the_settings_do_not_name(client: TestClient, stock: Stock, issuer: Issuer) -> None:
    identity.set_identity(stock.db, KnownBy.CERTIFICATE, DN, "ada", by=ROOT_USER)
    identity.set_identity(stock.db, KnownBy.JWT, f"{issuer.url}|4711", "ada", by=ROOT_USER)
    assert "none of ours" in asked(client, HEADERS, 401)["detail"]
    assert "Invalid JWT" in asked(client, issuer.token(), 401)["detail"]
    assert issuer.asked == []


def test_a_token_of_dynamo_or_airflow_counts_before_the_certificate(client: TestClient, stock: Stock) -> None:
    identity.set_identity(stock.db, KnownBy.CERTIFICATE, DN, "ada", by=ROOT_USER)
    assert asked(client, {**HEADERS, "x-user": "bob:viewer"})["name"] == "bob"
    assert "is not known" in asked(client, {**HEADERS, "authorization": "Bearer dyn_wrong"}, 401)["detail"]


def test_a_jwt_is_whose_its_subject_is(client: TestClient, stock: Stock, issuer: Issuer) -> None:
    assert "belongs to nobody" in asked(client, issuer.token(), 401)["detail"]
    identity.set_identity(stock.db, KnownBy.JWT, f"{issuer.url}|4711", "ada", by=ROOT_USER)
    ada = asked(client, issuer.token())
    assert (ada["name"], ada["known_by"]) == ("ada", "jwt")
    assert len(issuer.asked) == 2  # its configuration, its keys; not for each call
    assert "belongs to nobody" in asked(client, issuer.token(sub="4712"), 401)["detail"]


def test_its_groups_are_roles_and_none_of_airflow_s(client: TestClient, stock: Stock, issuer: Issuer) -> None:
    identity.set_identity(stock.db, KnownBy.JWT, f"{issuer.url}|4711", "ada", by=ROOT_USER)
    grants.grant(stock.db, "@/cms/ops", Grant(Role.SITE_ADMIN), by=ROOT_USER, reason="they are")
    of_groups = {"wlcg.groups": ["admin", "/cms/ops", 7]}
    assert asked(client, issuer.token(**of_groups))["grants"] == [{"role": "site_admin", "scope": "*"}]
    assert asked(client, issuer.token(**{"wlcg.groups": "admin"}))["grants"] == [{"role": "viewer", "scope": "*"}]


@pytest.mark.parametrize("access", [{"issuers": [{"person_claim": "preferred_username"}]}], indirect=True)
def test_a_claim_can_name_the_person(client: TestClient, issuer: Issuer) -> None:
    assert asked(client, issuer.token(preferred_username="ada"))["name"] == "ada"
    assert "belongs to nobody" in asked(client, issuer.token(preferred_username=""), 401)["detail"]
    assert "no name that a person can have" in asked(client, issuer.token(preferred_username="@op"), 401)["detail"]


@pytest.mark.parametrize(
    ("claims", "detail"),
    [
        ({"aud": "https://others.example.org"}, "Audience"),
        ({"aud": None}, "aud"),
        ({"exp": None}, "exp"),
        ({"sub": None}, "sub"),
        ({"exp": datetime(2020, 1, 1, tzinfo=UTC)}, "expired"),
        ({"nbf": datetime(2999, 1, 1, tzinfo=UTC)}, "not yet valid"),
        ({"key": EC_KEY, "algorithm": "ES256"}, ""),
        ({"key": rsa.generate_private_key(65537, 2048)}, "Signature"),
        ({"key": "", "algorithm": "none"}, ""),
        ({"key": "s" * 32, "algorithm": "HS256"}, ""),
    ],
)
def test_what_is_wrong_with_a_jwt_is_said(
    client: TestClient, stock: Stock, issuer: Issuer, claims: dict[str, Any], detail: str
) -> None:
    identity.set_identity(stock.db, KnownBy.JWT, f"{issuer.url}|4711", "ada", by=ROOT_USER)
    said = asked(client, issuer.token(**claims), 401)["detail"]
    assert f"the token of {issuer.url} is not good" in said
    assert detail in said


def test_the_public_key_is_no_shared_secret(client: TestClient, issuer: Issuer) -> None:
    """Whoever reads the published key could else sign with it."""
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    forged = jwt.api_jws.PyJWS().encode
    said = json.dumps({"iss": issuer.url, "sub": "4711", "aud": AUDIENCE, "exp": 32503680000}).encode()
    token = forged(said, bytes(public).replace(b"-----", b""), "HS256", headers={"kid": "old"})
    assert "is not good" in asked(client, {"authorization": f"Bearer {token}"}, 401)["detail"]


def test_new_keys_are_found_and_unknown_ones_do_not_make_us_ask_each_time(
    client: TestClient, stock: Stock, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynamo_web.caller import issuers

    identity.set_identity(stock.db, KnownBy.JWT, f"{issuer.url}|4711", "ada", by=ROOT_USER)
    asked(client, issuer.token())
    issuer.keys = {"new": EC_KEY}
    headers = issuer.token(kid="new", algorithm="ES256")
    for _ in range(3):
        assert "no key 'new'" in asked(client, headers, 401)["detail"]
    assert len(issuer.asked) == 2
    monkeypatch.setattr(issuers, "ASKED_EVERY_S", -1)
    assert asked(client, headers)["name"] == "ada"
    assert "no key 'old'" in asked(client, issuer.token(kid="old", key=RSA_KEY), 401)["detail"]


def test_an_issuer_that_is_away(
    client: TestClient, stock: Stock, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynamo_web.caller import issuers

    identity.set_identity(stock.db, KnownBy.JWT, f"{issuer.url}|4711", "ada", by=ROOT_USER)
    issuer.is_away = True
    assert asked(client, issuer.token(), 503)["status"] == 503
    monkeypatch.setattr(issuers, "ASKED_EVERY_S", -1)
    issuer.is_away = False
    asked(client, issuer.token())
    issuer.is_away = True
    monkeypatch.setattr(issuers, "KEPT_S", -1)  # it is asked for them again, and does not answer
    assert asked(client, issuer.token())["name"] == "ada"
    monkeypatch.setattr(issuers, "KEPT_ALONE_S", -1)
    asked(client, issuer.token(), 503)
