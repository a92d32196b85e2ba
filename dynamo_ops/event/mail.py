"""The events of a run in one mail to who subscribed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dynamo_ops.base.times import time_text
from dynamo_ops.event.kinds import KINDS, EventKind
from dynamo_ops.event.queue import Destination, Parcel

SHOWN = 300
"""Characters of a fact."""


@dataclass(frozen=True)
class Mail:
    """``html``: the same as ``text``."""

    to: str
    subject: str
    text: str
    html: str


def mail_of(to: Destination, parcels: Sequence[Parcel]) -> Mail:
    """One mail, in the order of the events."""
    if len(parcels) == 1:
        subject = f"Dynamo: {parcels[0].kind}, {parcels[0].about}"
    else:
        kinds = sorted({parcel.kind for parcel in parcels})
        subject = f"Dynamo: {len(parcels):,} events: {', '.join(kinds)}"
    footer = f"Event subscription {to.id}: {to.what}. To end it: dynamo event unsubscribe {to.id}"
    text = "\n".join([*map(_lines, parcels), footer, ""])
    return Mail(to.address, " ".join(subject.split())[:200], text, f"<pre>{escape(text)}</pre>")


def _lines(parcel: Parcel) -> str:
    again = "" if parcel.attempt == 1 else f", attempt {parcel.attempt}: you may have it already"
    kind = KINDS[EventKind(parcel.kind)].words if parcel.kind in {*EventKind} else ""
    facts = [f"  {name}: {_one_line(fact)}" for name, fact in parcel.facts.items()]
    head = f"{time_text(parcel.at)} {parcel.kind}: {parcel.about} (delivery {parcel.id}{again})"
    return "\n".join([head, *([f"  {kind}"] if kind else []), *facts, ""])


def _one_line(fact: object) -> str:
    plain = " ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
    line = " ".join(plain.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
