"""A walk over every command of ``dynamo``, found in its own tree: what holds of one holds of all."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.cli.nouns import NOUNS
from tests import ROOT
from tests.cli.seeded import DATASET, FTS, LIKE_MARKUP, LONG, on_terminal, piped, seeded, seeded_home, to_nobody
from tests.patience import PATIENCE_S

__all__ = ["seeded", "seeded_home"]

WHY = ("--reason", "because")
CALLS: dict[str, tuple[str, ...]] = {
    "init": ("new home", "--cache"),
    "inventory summary": (),
    "inventory set-aside": (),
    "inventory vanished": (),
    "dataset find": ("/A/*", "--site", "T2_*"),
    "dataset show": (LIKE_MARKUP,),
    "dataset where": (DATASET,),
    "dataset files": (f"{DATASET}#b*",),
    "replica bad": ("T2_A", "/store/b1/f0", "/store/b2/f0", *WHY),
    "replica suspicious": ("T2_A", "/store/b1/f0", *WHY),
    "replica good": ("T2_B", "/store/d1/f1", *WHY),
    "replica list": (),
    "inject": ("new.json",),
    "invalidate": ("document.json", *WHY, "--yes"),
    "invalidated": (),
    "detox plan": ("all",),
    "detox show": ("1",),
    "detox explain": (DATASET, "T2_A"),
    "detox diff": ("1", "2"),
    "detox commit": ("2", "--yes"),
    "detox refuse": ("2", *WHY),
    "dealer plan": ("all",),
    "dealer show": ("3",),
    "dealer explain": (LONG,),
    "dealer rules": ("all", "--missing"),
    "dealer commit": ("3", "--yes"),
    "dealer refuse": ("3", *WHY),
    "plan list": (),
    "plan show": ("1",),
    "policy check": ("all",),
    "policy lint": ("all",),
    "policy variables": (),
    "policy test": (),
    "history dataset": ("*",),
    "history cycles": ("all",),
    "history site": ("T2_*",),
    "access grant": ("@op", "operator", *WHY),
    "access revoke": ("ada", "site_admin", "--scope", "site:T2_*", *WHY),
    "access list": (),
    "access member": ("ops", "ada"),
    "access members": (),
    "access identity": ("certificate", "/DC=ch/CN=ada", "ada"),
    "access identities": (),
    "token make": ("nightly",),
    "token list": ("--person", "bob"),
    "token revoke": ("1",),
    "audit": (),
    "event list": (),
    "event subscribe": ("request.*", "--mail", "ada@example.org"),
    "event unsubscribe": ("1",),
    "event subscriptions": ("--group", "ops"),
    "lock add": (LONG, *WHY, "--until", "90 days"),
    "lock list": (),
    "lock remove": ("1", *WHY, "--yes"),
    "lock show": ("1",),
    "quota set": ("T2_*", "all", "5kB", *WHY, "--yes"),
    "quota unset": ("T2_A", "all", *WHY),
    "quota group": ("ops", "5TB"),
    "quota user": ("ada", "unlimited"),
    "quota show": (),
    "request copy": (LONG, DATASET, "--site", "T2_*", "--group", "ops"),
    "request delete": (f"{DATASET}#b2", "--site", "T2_A", *WHY, "--yes"),
    "request list": (),
    "request show": ("1",),
    "request cancel": ("1", *WHY),
    "transfers status": ("--since", "2026-11-01"),
    "transfers why": ("1",),
    "transfers hold": ("--site", "T2_*", *WHY, "--yes"),
    "transfers release": ("--site", "T2_*", "--yes"),
    "transfers retry": ("--site", "T2_*", "--yes"),
    "transfers cancel": ("--site", "T2_*", *WHY, "--yes"),
    "transfers series": ("source", "error", "--step", "day"),
    "transfers links": ("--since", "7d"),
    "transfers errors": ("--site", "T2_*"),
    "deletions series": ("site", "outcome"),
    "transfers readdress": ("https://old.example.org", FTS, "--yes"),
    "site list": (),
    "site show": ("T2_A",),
    "site only-here": ("T2_A",),
    "site set": ("T2_B", "waitroom", *WHY, "--until", "3d"),
    "site unset": ("T2_A",),
    "site overrides": (),
    "site drain": ("T2_A", *WHY, "--until", "30d"),
    "site evacuate": ("T2_B", *WHY),
    "site resume": ("T2_B", "--planned"),
    "site downtime": ("T2_*",),
    "site shared": (),
    "site mappings": (),
    "site accept": ("T2_C_With_A_Long_Name", "--yes"),
    "site share": ("T2_A", "T2_B", *WHY),
    "site unshare": ("T2_A", "T2_B", "--yes"),
    "group show": ("ops",),
    "group datasets": ("ops",),
    "usage": ("site", "group"),
    "stop": ("detox", "--partition", "all", *WHY, "--until", "3d"),
    "resume": (),
    "pauses": (),
    "gate results": (),
    "gate trend": ("sites", "cric", "sites"),
    "whoami": (),
    "server list": (),
    "airflow env": (),
    "digest": ("--day", f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"),
    "config check": (),
    "config settings": ("fts",),
    "db status": (),
    "db upgrade": (),
    "db stop": (),
}
"""Every command with arguments of which it makes something, in ``seeded``."""
OF_A_SERVER = {"login", "logout", "server use"}
"""tests/plugins/web/test_login_by_command.py has one for them."""


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command that does something: its words, and what typer made of it."""
    for noun in NOUNS:
        command = noun.load()
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            yield noun.name, command
        else:
            yield from ((f"{noun.name} {name}", subcommand) for name, subcommand in subcommands.items())


LEAVES = dict(leaves())
every_command = pytest.mark.parametrize("words", CALLS)


def call(words: str) -> list[str]:
    return [*words.split(), *CALLS[words]]


def test_the_walk_passes_every_command() -> None:
    assert set(CALLS) | OF_A_SERVER == set(LEAVES)


@every_command
def test_json_is_one_document(seeded: Path, words: str) -> None:
    ended = piped(*call(words), "--json")
    assert ended.code in (0, 1), ended
    assert isinstance(json.loads(ended.out), dict | list)


@every_command
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(seeded: Path, words: str) -> None:
    shutil.rmtree("new home", ignore_errors=True)
    ended = on_terminal(*call(words))
    assert ended.code == 0, ended
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in ended.out.splitlines()]
    assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []
    assert "…" not in ended.out.replace("… and", "")


@every_command
def test_a_reader_that_goes_is_no_error(seeded: Path, words: str) -> None:
    shutil.rmtree("new home", ignore_errors=True)
    ended = to_nobody(*call(words))
    assert ended.code == 141, ended
    assert "Traceback" not in ended.err
    assert "pipe" not in ended.err.lower()


@pytest.mark.parametrize("words", LEAVES)
def test_help_is_whole_at_80_columns(seeded: Path, words: str) -> None:
    ended = on_terminal(*words.split(), "--help")
    assert ended.code == 0
    assert [line for line in ended.out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("words", [(), *((noun.name,) for noun in NOUNS)], ids=" ".join)
def test_lists_of_commands_are_whole_at_80_columns(seeded: Path, words: tuple[str, ...]) -> None:
    shown = on_terminal(*words, "--help").out.partition("Commands:")[2]
    assert "..." not in shown
    assert max((len(line) for line in shown.splitlines()), default=0) <= 80


ASKING = [words for words, arguments in CALLS.items() if "--yes" in arguments]


@pytest.mark.parametrize("words", ASKING)
def test_what_asks_is_not_done_where_nobody_can_be_asked(seeded: Path, nobody: None, words: str) -> None:
    if words == "site unshare":
        assert piped(*call("site share")).code == 0
    ended = piped(*(word for word in call(words) if word != "--yes"))
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith("dynamo: nobody is there to be asked: say --yes")


def test_what_asks_is_documented() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    questions = page[page.index("## Questions") : page.index("## Exit codes")]
    named = {f"{noun} {verb}".strip() for noun, verbs in re.findall(r"`([a-z]+)(?:\s([a-z|]+))?`", questions)
             for verb in verbs.split("|")}  # fmt: skip
    answered = {words for words, command in LEAVES.items() if any("--yes" in option.opts for option in command.params)}
    assert answered <= named
    assert set(ASKING) <= answered


SAME = {
    "--json": "Print JSON, for programs.",
    "--site": "Site name or glob",
    "--group": "Name of a group",
    "--by": "Who; without it your login name.",
    "--until": "When it ends: a date, a time",
    "--since": "How far back: a date, a time",
    "--limit": "At most so many.",
    "--yes": "Do not ask.",
    "--dry-run": "Only say what would happen.",
    "--reason": "Why; it is kept, and others will read it.",
    "--partition": ("Name of a partition.", "Partition name or glob"),
    "--dataset": "Dataset name or glob",
}


@every_command
def test_an_option_says_the_same_everywhere(words: str) -> None:
    for parameter in LEAVES[words].params:
        for option in parameter.opts:
            if option in SAME:
                assert parameter.help.startswith(SAME[option]), (words, option, parameter.help)
    assert any("--json" in parameter.opts for parameter in LEAVES[words].params), words


def complete(monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    monkeypatch.setenv("_DYNAMO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    ended = piped()
    assert (ended.code, ended.err) == (0, "")
    return ended.out.split()


@every_command
def test_a_shell_completes_its_options(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    assert "--json" in complete(monkeypatch, f"dynamo {words} --j")
    assert words.split()[-1] in complete(monkeypatch, f"dynamo {words}")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("dynamo transfers status --site T2_", ["T2_A", "T2_B", "T2_C_With_A_Long_Name"]),
        ("dynamo site drain T2_B", ["T2_B"]),
        ("dynamo request copy /A --group o", ["ops"]),
        ("dynamo plan list --partition a", ["all"]),
        ("dynamo history cycles ", ["all"]),
        ("dynamo history cycles z", []),
    ],
)
def test_a_shell_completes_names(seeded: Path, monkeypatch: pytest.MonkeyPatch, line: str, names: list[str]) -> None:
    assert complete(monkeypatch, line) == names


@pytest.mark.parametrize("url", ["rubbish", "postgresql://nobody@/none?host=/nowhere"])
def test_a_shell_is_offered_nothing_where_the_database_does_not_answer(
    seeded: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DYNAMO_DB_URL", url)
    assert complete(monkeypatch, "dynamo transfers status --site T") == []


def test_what_looks_like_markup_is_shown_as_it_is(seeded: Path) -> None:
    for ended in (piped("lock", "list"), on_terminal("lock", "list", columns=400)):
        assert LIKE_MARKUP in ended.out
        assert "[red]thesis[/red]" in ended.out
    assert "[bold]it is[/bold]" in piped("site", "overrides").out


def test_what_is_piped_has_a_line_a_row(seeded: Path) -> None:
    ended = piped("lock", "list")
    assert len(ended.out.splitlines()) == 5
    assert LIKE_MARKUP in ended.out


@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [(">&-", 0, ""), ("> /dev/full", 2, "dynamo: the output cannot be written: No space left on device")],
)
def test_output_that_goes_nowhere(seeded: Path, redirection: str, code: int, message: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = f"{shlex.quote(sys.executable)} -m dynamo_ops.cli policy variables {redirection}"
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (code, message)


def test_a_database_far_away_keeps_no_shell_waiting(seeded: Path) -> None:
    words = {"_DYNAMO_COMPLETE": "complete_bash", "COMP_WORDS": "dynamo site set T", "COMP_CWORD": "3"}
    far_away = {"DYNAMO_DB_URL": "postgresql://nobody@192.0.2.1/none", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from dynamo_ops.cli.main import run; run()"]
    done = subprocess.run(
        command, env=os.environ | words | far_away, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("lines", [1, 2])
def test_head_ends_a_command_in_silence(seeded: Path, lines: int) -> None:
    dynamo = f"{shlex.quote(sys.executable)} -m dynamo_ops.cli plan list"
    script = f"set -o pipefail; {dynamo} | head -{lines} > /dev/null; echo ${{PIPESTATUS[0]}}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}
