"""Ways to ask wrongly: each is answered by what to mend, an exit code that is not 0, and no trace; nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.seeded import DATASET, LONG, piped, seeded, seeded_home

__all__ = ["seeded", "seeded_home"]

WHY = ("--reason", "because")
UNKNOWN = ("invalidate", "unknown.json", "--yes", *WHY)
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a noun that looks like one": (("plam",), "dynamo: there is no command 'plam'. Did you mean plan?"),
    "a verb that looks like one": (("plan", "lst"), "dynamo: `dynamo plan` has no command 'lst'. Did you mean list?"),
    "an option that looks like one": (
        ("plan", "list", "--partitoin", "all"),
        "--partitoin. Did you mean --partition?",
    ),
    "an option that looks like none": (("plan", "list", "--zz"), "has no option --zz. It has --partition, --state"),
    "an option before its command": (("--json", "plan", "list"), "Options of a command come after its name"),
    "an option without a value": (("plan", "list", "--limit"), "dynamo: --limit needs a value"),
    "a value of a switch": (("plan", "list", "--json=yes"), "dynamo: --json takes no value"),
    "an argument too many": (("plan", "show", "1", "2"), "dynamo: `dynamo plan show` takes no '2'"),
    "a command that is not said": (("--no-pager",), "dynamo: `dynamo` needs a command"),
    "an argument that is not there": (
        ("plan", "show"),
        "`dynamo plan show` needs PLAN: number of a stored plan",
    ),
    "an option that is not there": (
        ("lock", "add", DATASET),
        "needs --reason: why; it is kept, and others",
    ),
    "no number": (("plan", "show", "first"), "dynamo: PLAN: expected a whole number, not 'first'"),
    "a limit of nothing": (("plan", "list", "--limit", "0"), "dynamo: --limit: expected at least 1, not 0"),
    "a plan that is not": (("plan", "show", "4711"), "there is no plan 4711"),
    "a plan of the other engine": (
        ("dealer", "show", "1"),
        "is a plan of Detox; `dynamo detox show 1`",
    ),
    "a state of plans that is not": (("plan", "list", "--state", "comitted"), "Did you mean committed?"),
    "a kind of plans that is not": (("plan", "list", "--kind", "detoks"), "Did you mean detox?"),
    "a state of requests that is not": (("request", "list", "--state", "activ"), "Did you mean activated?"),
    "a kind of requests that is not": (("request", "list", "--kind", "delete"), "Did you mean deletion?"),
    "a state of subscriptions that is not": (("transfers", "retry", "--action", "coppy"), "Did you mean copy?"),
    "a decision that is not": (("detox", "show", "1", "--decision", "delte"), "Did you mean delete?"),
    "a table that is not": (("detox", "diff", "1", "2", "--table", "sits"), "Did you mean site?"),
    "a gate that is not": (("gate", "results", "--gate", "metadta"), "Did you mean metadata?"),
    "a partition without plans": (("plan", "list", "--partition", "al"), "Did you mean all?"),
    "a partition without cycles": (("history", "cycles", "alll"), "Did you mean all?"),
    "a partition without policy": (("detox", "plan", "al"), "Did you mean all?"),
    "a partition without dealer": (("dealer", "plan", "al"), "Did you mean all?"),
    "a partition without quotas": (("quota", "show", "--partition", "al"), "Did you mean all?"),
    "a dataset to explain": (("detox", "explain", "/A/B-v1/AODD", "T2_A"), f"Did you mean {DATASET}?"),
    "a dataset of no plan": (("dealer", "explain", "/A/B-v1/AODD"), f"Did you mean {DATASET}?"),
    "a dataset to copy": (("request", "copy", "/A/B-v1/RAW", "--site", "T2_A", "--group", "ops"), f"mean {DATASET}?"),
    "a dataset to delete": (("request", "delete", "/A/B-v1/RAW", "--site", "T2_A", *WHY), f"mean {DATASET}?"),
    "a dataset of no request": (("request", "list", "--dataset", "/A/B-v1/RAW"), f"mean {DATASET}?"),
    "a dataset without history": (("history", "dataset", "/A/B-v1/AOE"), f"mean {DATASET}?"),
    "a dataset to lock": (("lock", "add", "/A/B-v1/AOE", *WHY), f"mean {DATASET}?"),
    "a block of no dataset": (
        ("request", "copy", "/A/B-v1/AOE#b1", "--site", "T2_A", "--group", "ops"),
        f"mean {DATASET}",
    ),
    "a site to copy to": (("request", "copy", DATASET, "--site", "T2_AA", "--group", "ops"), "Did you mean T2_A"),
    "a site to delete at": (("request", "delete", DATASET, "--site", "T2_AA", *WHY), "Did you mean T2_A"),
    "a block to lock": (("lock", "add", f"{DATASET}#b11", *WHY), "Did you mean b1?"),
    "a dataset without locks": (
        ("lock", "list", "--item", "/A/B-v1/AOE"),
        f"nor is a dataset called so. Did you mean {DATASET}",
    ),
    "a dataset to invalidate": (
        ("invalidate", "unknown.json", "--yes", *WHY),
        f"'/A/B-v1/AOE'. Did you mean {DATASET}?",
    ),
    "a block to invalidate": (
        ("invalidate", "unknown.json", "--yes", *WHY),
        f"Did you mean {DATASET}#b2, {DATASET}#b1?",
    ),
    "a file to invalidate": (
        ("invalidate", "unknown.json", "--yes", *WHY),
        f"unknown file '{DATASET}'. It is a dataset",
    ),
    "a dataset to explain by the dealer": (("dealer", "explain", "/A/B-v1/AOE"), f"Did you mean {DATASET}"),
    "a site with history": (("history", "site", "T2_AA"), "Did you mean T2_A"),
    "a block to retry": (
        ("transfers", "retry", "--block", f"{DATASET}#b", "--yes"),
        f"Did you mean {DATASET}#b2, {DATASET}#b1",
    ),
    "a block of no dataset to retry": (
        ("transfers", "retry", "--block", "/A/B/AOE#b1", "--yes"),
        f"mean {DATASET}?",
    ),
    "a file that is a dataset": (("transfers", "hold", "--file", DATASET, "--yes", *WHY), "It is a dataset"),
    "a file that is a block": (("transfers", "why", f"{DATASET}#b1"), "It is a block"),
    "a block that is not": (("request", "delete", f"{DATASET}#b9", "--site", "T2_A", *WHY), "has no block 'b9'"),
    "a site that looks like one": (("history", "site", "T2_AA"), "Did you mean T2_A"),
    "a glob of no site": (("transfers", "status", "--site", "T3_*"), "no site matches 'T3_*'"),
    "a glob where one site is meant": (("site", "drain", "T2_*", *WHY), "expected a name, not a glob"),
    "a status that is not": (("site", "set", "T2_A", "redy", *WHY), "Did you mean ready?"),
    "a group that looks like one": (
        ("request", "copy", LONG, "--site", "T2_A", "--group", "opps"),
        "no dealer configuration places for group 'opps'; served are ops. Did you mean ops?",
    ),
    "a group of nothing": (("request", "delete", DATASET, "--site", "T2_A", "--group", "opps", *WHY), "mean ops?"),
    "a dataset of no subscription": (("transfers", "retry", "--dataset", "/A/B-v1/AOE", "--yes"), f"mean {DATASET}?"),
    "a site of no plan": (("detox", "show", "1", "--site", "T2_AA"), "plan 1 knows no site 'T2_AA'. Did you mean T2_A"),
    "a site of no proposal": (("dealer", "show", "3", "--site", "T3_*"), "plan 3 knows no site 'T3_*'"),
    "no time": (("site", "drain", "T2_A", "--until", "soon", *WHY), "expected a date (2026-03-01), a time"),
    "a time that is over": (("lock", "add", DATASET, "--until", "2020-01-01", *WHY), "which is over"),
    "a lock for a century": (("lock", "add", DATASET, "--until", "2099-01-01", *WHY), "more than 3,660 days"),
    "a downtime that was": (("site", "drain", "T2_A", "--until", "2020-01-01", *WHY), "must be after"),
    "a downtime that began long ago": (
        ("site", "drain", "T2_A", "--from", "2020-01-01", *WHY),
        "is over; without one it begins now",
    ),
    "a downtime for a century": (("site", "drain", "T2_A", "--until", "2099-01-01", *WHY), "more than 366 days"),
    "a downtime in a century": (("site", "drain", "T2_A", "--from", "2099-01-01", *WHY), "more than 366 days"),
    "a status for a century": (("site", "set", "T2_A", "morgue", "--until", "100y", *WHY), "more than 366 days"),
    "a status that was": (("site", "set", "T2_A", "morgue", "--until", "2020-01-01", *WHY), "is over"),
    "a time to look back to that is to come": (("plan", "list", "--since", "2099-01-01"), "still to come"),
    "no time to look back to": (("plan", "list", "--since", "3 moons"), "or how long (12h, 3d, 2w)"),
    "no size": (("quota", "set", "T2_A", "all", "many", *WHY), "expected something like '500 TB'"),
    "a reason of nothing": (("request", "delete", DATASET, "--site", "T2_A", "--reason", " "), "say why"),
    "nobody to ask about a deletion": (("request", "delete", f"{DATASET}#b2", "--site", "T2_A", *WHY), "say --yes"),
    "nobody to ask about a plan": (("detox", "commit", "2"), "say --yes"),
    "nobody to ask about copies": (("dealer", "commit", "3", "--json"), "say --yes"),
    "nobody to ask about transfers": (("transfers", "cancel", "--site", "T2_*", *WHY), "say --yes"),
    "nobody to ask about a lock": (("lock", "remove", "1", *WHY), "say --yes"),
    "nobody to ask about a smaller quota": (("quota", "set", "T2_A", "all", "1kB", *WHY), "say --yes"),
    "nobody to ask about an endpoint": (("site", "accept", "T2_C_With_A_Long_Name"), "say --yes"),
    "a lock that is not": (("lock", "remove", "99", "--yes", *WHY), "there is no lock 99"),
    "an endpoint that nobody reports": (("site", "accept", "T2_A", "--yes"), "reports no other endpoint"),
    "a subscription that is not": (("transfers", "why", "99"), "there is no subscription 99"),
    "neither file nor number": (("transfers", "why", "b1"), "neither an LFN"),
    "no subscription chosen": (("transfers", "hold", "--yes", *WHY), "say which subscriptions"),
    "a document that is not there": (("inject", "nowhere.json"), "nowhere.json: cannot be read as JSON"),
    "a document that is none": (("inject", "wrong.txt"), "wrong.txt: cannot be read as JSON: line 1, column 1"),
    "a policy that is wrong": (("policy", "check", "wrong.txt"), "wrong.txt:2:1"),
    "an unknown figure of a gate": (("gate", "trend", "sites", "cric", "files"), "measured were: sites cric sites"),
    "a kind that is not": (("inventory", "vanished", "--kind", "fils"), "dataset, block, file. Did you mean file?"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_asked_wrongly_is_answered_by_what_to_mend(seeded: Path, nobody: None, kind: str) -> None:
    words, message = WRONG[kind]
    before = piped("transfers", "status", "--json").out, piped("plan", "list", "--json").out
    ended = piped(*words)
    told = " ".join((ended.err + ended.out).split())
    assert message in told
    assert ended.err.startswith("dynamo: ") or kind == "a policy that is wrong"
    assert ended.code == 2
    assert "Traceback" not in told
    assert ended.out == "" or kind == "a policy that is wrong" or "say --yes" in told
    assert (piped("transfers", "status", "--json").out, piped("plan", "list", "--json").out) == before


def test_a_request_of_which_nothing_may_go_ends_with_1(seeded: Path) -> None:
    ended = piped("request", "delete", "/[red]Zero/Run-v1[/red]/[bold]AOD", "--site", "T2_*", "--yes", *WHY)
    assert "is rejected: nothing of it may be deleted" in ended.out
    assert ended.code == 1
