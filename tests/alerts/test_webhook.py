"""A chat over real sockets: what arrives, and what is said when nothing does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_ops.alerts.webhook import LONGEST, post
from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RetryableRemoteError
from dynamo_ops.base.settings import WebhookSettings
from simgrid.grid import Grid
from simgrid.http import Request, Response, Server, Service
from simgrid.tls import Credentials, make_credentials
from simgrid.webhook import PATH, WebhookSink
from tests import ROOT

TINY = ROOT / "include/scenarios/tiny.yaml"


class Answers(Service):
    """Answers with these statuses, one after the other."""

    def __init__(self, *statuses: int, delay_s: float = 0) -> None:
        self.statuses = list(statuses)
        self.seen: list[Request] = []
        self._delay_s = delay_s

    def handle(self, request: Request) -> Response:
        request.body()
        self.seen.append(request)
        time.sleep(self._delay_s)
        return Response(self.statuses.pop(0), b"the chat's own words", headers={"Location": "/elsewhere"})


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return make_credentials(tmp_path_factory.mktemp("tls"), "/CN=nobody", ["127.0.0.1"])


@pytest.fixture
def sink(tmp_path: Path, tls: Credentials) -> Iterator[tuple[Path, str]]:
    """The grid's own sink: its folder and URL."""
    server = Server(WebhookSink(tmp_path / "chat"), "127.0.0.1", 0, tls.server_context())
    server.start()
    yield tmp_path / "chat", f"https://127.0.0.1:{server.port}{PATH}"
    server.close()


def served(service: Service) -> Server:
    server = Server(service, "127.0.0.1", 0, None)
    server.start()
    return server


def settings_for(server: Server, **more: object) -> WebhookSettings:
    return WebhookSettings(url=f"http://127.0.0.1:{server.port}/hooks/a-secret", **more)  # type: ignore[arg-type]


def test_the_text_arrives_over_verified_tls(sink: tuple[Path, str], tls: Credentials) -> None:
    folder, url = sink
    post(WebhookSettings(url=url, ca=tls.ca), "*Dynamo* é ✓\nline two")
    post(WebhookSettings(url=url, ca=tls.ca), "second")
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    assert found == [{"text": "*Dynamo* é ✓\nline two"}, {"text": "second"}]


def test_a_certificate_of_unknown_authorities_is_not_taken(sink: tuple[Path, str]) -> None:
    with pytest.raises(CredentialError, match="certificate verify failed"):
        post(WebhookSettings(url=sink[1]), "text")
    assert list(sink[0].glob("*.json")) == []


def test_the_pocket_grid_has_a_chat_that_wants_a_text(tmp_path: Path) -> None:
    with Grid(TINY, tmp_path / "grid") as grid:
        hook = WebhookSettings(url=grid.endpoints["webhook"], ca=grid.endpoints["ca"])
        post(hook, "T2_CC is full")
        for wrong in (hook.model_copy(update={"text_key": "content"}), hook.model_copy(update={"url": hook.url + "s"})):
            with pytest.raises(PermanentRemoteError, match=r"no text|no such hook"):
                post(wrong, "T2_CC is full")
        assert [file.name for file in Path(grid.endpoints["chat_dir"]).iterdir()] == ["000001.json"]


def test_key_and_headers_are_those_of_the_settings() -> None:
    service = Answers(204)
    server = served(service)
    post(settings_for(server, text_key="content", headers={"Authorization": "Bearer t"}), "text")
    server.close()
    assert service.seen[0].headers["Authorization"] == "Bearer t"
    assert service.seen[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("statuses", "kind", "calls"),
    [
        pytest.param([404], PermanentRemoteError, 1, id="refused"),
        pytest.param([302], PermanentRemoteError, 1, id="sent elsewhere: where a token would go too"),
        pytest.param([503, 503, 503], RetryableRemoteError, 3, id="busy"),
        pytest.param([500], RetryableRemoteError, 1, id="broken: may have taken it in"),
    ],
)
def test_a_refusal_says_host_status_and_words_and_never_the_path(
    statuses: list[int], kind: type[Exception], calls: int
) -> None:
    service = Answers(*statuses)
    server = served(service)
    with pytest.raises(kind, match=rf"webhook at http://127.0.0.1:{server.port} answered {statuses[0]} ") as caught:
        post(settings_for(server), "text")
    server.close()
    assert "the chat's own words" in str(caught.value)
    assert "a-secret" not in str(caught.value)
    assert len(service.seen) == calls


def test_a_chat_that_is_busy_for_a_moment_gets_it_all_the_same() -> None:
    service = Answers(429, 200)
    server = served(service)
    post(settings_for(server), "text")
    server.close()
    assert len(service.seen) == 2


def test_no_answer_in_time_is_sent_once_only() -> None:
    service = Answers(200, delay_s=1)
    server = served(service)
    with pytest.raises(RetryableRemoteError, match="no answer in time") as caught:
        post(settings_for(server, timeout_s=0.2), "text")
    server.close()
    assert len(service.seen) == 1
    assert "a-secret" not in str(caught.value)


def test_nobody_listens() -> None:
    server = served(Answers())
    server.close()
    with pytest.raises(RetryableRemoteError, match=r"webhook at http://127\.0\.0\.1:\d+: .*refused") as caught:
        post(settings_for(server), "text")
    assert "a-secret" not in str(caught.value)


def test_a_novel_is_cut_at_a_line_and_its_fence_is_closed(sink: tuple[Path, str], tls: Credentials) -> None:
    post(WebhookSettings(url=sink[1], ca=tls.ca), "```\n" + "a line\n" * LONGEST)
    said = json.loads(next(iter(sink[0].glob("*.json"))).read_text())["text"]
    assert len(said) < LONGEST + 100
    assert said.endswith("a line\n```\n… (the rest was cut)")
