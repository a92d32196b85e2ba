"""Replaying recorded exchanges with a real FTS 3: translation to the grid at hand, and comparison.

Ids, times, hosts and checksums differ from run to run: recorded ones are translated, in requests and in expected
answers, to what this run gave in their place. Everything else must be equal, down to the error texts.
"""

from __future__ import annotations

import json
import re
from typing import Any

import requests

from tests import ROOT

RECORDED = ROOT / "tests/data/fts_contract"
_KEPT_HEADERS = ("User-Agent", "Accept", "Content-Type", "Authorization")
# Only type and presence are compared: values of a moment, of a machine, or random.
VOLATILE = frozenset(
    {
        "submit_time",
        "job_finished",
        "start_time",
        "finish_time",
        "staging_start",
        "staging_finished",
        "datetime",
        "archive_start_time",
        "archive_finish_time",
        "termination_time",
        "max_time_in_queue",
        "hashed_id",
        "pid",
        "tx_duration",
        "throughput",
        "transfer_host",
        "staging_host",
        "log_file",
        "bringonline_token",
    }
)


def exchanges() -> dict[int, dict[str, Any]]:
    """All recordings by number."""
    found = {int(path.name.split("_")[0]): path for path in RECORDED.glob("*.json")}
    return {number: json.loads(found[number].read_text(encoding="utf-8")) for number in sorted(found)}


class Translation:
    """Recorded words to this run's words."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.patterns: list[tuple[re.Pattern[str], str]] = []

    def learn(self, recorded: Any, ours: Any) -> None:
        self.words[str(recorded)] = str(ours)

    def pattern(self, expression: str, replacement: str) -> None:
        self.patterns.append((re.compile(expression), replacement))

    def text(self, text: str) -> str:
        for expression, replacement in self.patterns:
            text = expression.sub(replacement, text)
        for recorded, ours in self.words.items():
            text = text.replace(recorded, ours)
        return text

    def document(self, document: Any) -> Any:
        return json.loads(self.text(json.dumps(document)))


def send(
    exchange: dict[str, Any], url: str, http: requests.Session, translation: Translation, body: bytes | None = None
) -> requests.Response:
    """Send a recorded request; `body` replaces what the recording could not keep."""
    request = exchange["request"]
    headers = {name: value for name, value in request["headers"].items() if name in _KEPT_HEADERS}
    if body is None and request["body"] is not None:
        recorded = request["body"]
        body = (recorded if isinstance(recorded, str) else json.dumps(translation.document(recorded))).encode()
    return http.request(request["method"], url + translation.text(request["path"]), headers=headers, data=body)


def learn_ids(recorded: Any, ours: Any, translation: Translation) -> None:
    """Pair up job and file ids at the same places of two bodies."""
    if isinstance(recorded, list) and isinstance(ours, list):
        for mine, yours in zip(recorded, ours, strict=False):
            learn_ids(mine, yours, translation)
    elif isinstance(recorded, dict) and isinstance(ours, dict):
        for name in ("job_id", "file_id"):
            if name in recorded and name in ours:
                translation.learn(recorded[name], ours[name])
        for name in ("files", "file"):
            learn_ids(recorded.get(name), ours.get(name), translation)


def differences(recorded: dict[str, Any], ours: requests.Response, translation: Translation) -> list[str]:
    """What in our answer differs from the recorded one; empty when they agree."""
    found = []
    for what, theirs, mine in (
        ("status", recorded["status"], ours.status_code),
        ("reason", recorded["reason"], ours.reason),
        ("content type", recorded["headers"].get("Content-Type"), ours.headers.get("Content-Type")),
    ):
        if theirs != mine:
            found.append(f"{what}: recorded {theirs!r}, ours {mine!r}")
    if (ours.headers.get("Content-Type") or "").startswith("application/json"):
        body = ours.json()
        learn_ids(recorded["body"], body, translation)
        found += _compare("body", translation.document(recorded["body"]), body)
    elif "(base64)" in str(recorded["body"]):
        found += (
            []
            if re.fullmatch(r"-----BEGIN [A-Z ]+-----\n.*-----END [A-Z ]+-----\n", ours.text, re.DOTALL)
            else [f"body: not PEM: {ours.text!r}"]
        )
    elif recorded["body"] != ours.text:
        found.append(f"body: recorded {recorded['body']!r}, ours {ours.text!r}")
    return found


def _compare(place: str, recorded: Any, ours: Any) -> list[str]:
    if isinstance(recorded, dict) and isinstance(ours, dict):
        found = [
            f"{place}.{key}: only {who} has it"
            for who, keys in (
                ("the recording", recorded.keys() - ours.keys()),
                ("our answer", ours.keys() - recorded.keys()),
            )
            for key in sorted(keys)
        ]
        for key in recorded.keys() & ours.keys():
            found += _compare(f"{place}.{key}", recorded[key], ours[key])
        return found
    if isinstance(recorded, list) and isinstance(ours, list):
        if len(recorded) != len(ours):
            return [f"{place}: recorded {len(recorded)} entries, ours {len(ours)}"]
        pairs = enumerate(zip(recorded, ours, strict=True))
        return [line for n, (theirs, mine) in pairs for line in _compare(f"{place}[{n}]", theirs, mine)]
    if type(recorded) is not type(ours):
        return [f"{place}: recorded {recorded!r}, ours {ours!r}"]
    if place.rsplit(".", 1)[-1] not in VOLATILE and recorded != ours:
        return [f"{place}: recorded {recorded!r}, ours {ours!r}"]
    return []
