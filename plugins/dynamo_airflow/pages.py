"""Where Dynamo's pages are, as Airflow's UI shows them: in its frame, below /plugin/dynamo."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from dynamo_web.mount import PREFIX

ROUTE = "dynamo"
"""Of the entry in Airflow's menu."""

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20' fill='none' stroke='%232f7fb5' "
    "stroke-width='2'%3E%3Cellipse cx='10' cy='4.5' rx='7' ry='2.5'/%3E%3Cpath d='M3 4.5v11c0 1.4 3.1 2.5 7 2.5s7-1.1 "
    "7-2.5v-11M3 10c0 1.4 3.1 2.5 7 2.5s7-1.1 7-2.5'/%3E%3C/svg%3E"
)
"""A stack of disks, in a blue that reads on light and dark. In the entry itself: a file of ours would need a route that
is open to everybody."""

OF_SECTIONS: Mapping[str, str] = {
    "alerts": "today#runs",
    "gates": "gates?verdict=refused",
    "metadata": "today#freshness",
    "popularity": "today#missing",
    "plans": "plans?state=refused",
    "transfers": "transfers",
    "ill": "transfers/ended?state=failed",
    "held": "transfers/queue?state=held",
    "deletions": "deletions",
    "taken_back": "deletions",
    "sites": "sites",
    "endpoints": "sites",
    "shared": "sites",
    "mappings": "sites",
    "consistency": "sites",
    "bad": "sites",
    "vanished": "data",
    "events": "today",
    "invalidated": "data",
}
"""Where to look at what a section of the digest, by its key, calls unusual."""

WHEN_RED = """
#### When a task is red
Its mail, and the end of its log, say what happened and what to do next. What may pass by itself was tried again
already. To clear a red task is always safe: each can be run again from any point.
"""


def path_of(page: str, **choices: str) -> str:
    """The path of a page (``plans/17``), for links within Airflow's UI. ``choices``: its filters; empty ones are left
    out."""
    kept = {name: chosen for name, chosen in choices.items() if chosen}
    query = f"?{urlencode(kept, quote_via=quote)}" if kept else ""
    return f"{_below()}/plugin/{ROUTE}{PREFIX}/ui/{page}{query}"


def address_of(page: str, **choices: str) -> str | None:
    """The whole address of a page, for mails and chats. None where Airflow's ``[api] base_url`` does not say by which
    name people reach it: an address that leads to the reader's own machine is worse than none."""
    base = urlsplit(_base_url())
    return f"{base.scheme}://{base.netloc}{path_of(page, **choices)}" if base.scheme and base.netloc else None


def framed(path: str) -> str:
    """What the frame shows: a path of our app, as the API server has it."""
    return f"{_below()}{PREFIX}/ui/{path}"


def explained(text: str, pages: Mapping[str, str]) -> str:
    """A DAG's ``doc_md``: ``text``, what to do when a task is red, and links to ``pages``, by what they show."""
    links = "\n".join(f"* [{shown}]({path_of(page)})" for shown, page in pages.items())
    return f"{text.strip()}\n{WHEN_RED}\n#### Where to look in Dynamo\n{links}\n"


def _below() -> str:
    """The path below which Airflow is served; empty where it has a host of its own."""
    return urlsplit(_base_url()).path.rstrip("/")


def _base_url() -> str:
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback=None) or "")
