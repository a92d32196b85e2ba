"""A page that is a list: filter, rows, next page, all as CSV. A module says what is listed; the rest is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic

from fastapi import Request
from fastapi.responses import Response

from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.query.paging.listing import Filter, Listing, Window, read_page
from dynamo_web.databases import reading
from dynamo_web.lists import Lister
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address
from dynamo_web.pages.part.table import Choice, Column, Table
from dynamo_web.pages.part.table import Filter as Form

ROWS = 50
"""Of a page."""
CURSOR, FORM = "cursor", "form"
Chosen = Mapping[str, str]
NOWHERE: Chosen = MappingProxyType({})


@dataclass(frozen=True)
class ListPage(Generic[Filter]):
    """``path``: its address below /ui, with the names of ``place`` in braces. ``asked``: the question that a filter
    means. ``hidden``: fields that links need and no column shows. ``count``: whether it says how many there are."""

    tab: str
    path: str
    title: str
    noun: str
    listing: Listing[Filter]
    columns: Sequence[Column]
    asked: Callable[[Chosen], Filter]
    choices: Sequence[Choice] = ()
    hidden: Sequence[str] = ()
    about: str = ""
    template: str = "list.html"
    counts: bool = False

    def answer(
        self, request: Request, person: Person, lister: Lister, place: Chosen = NOWHERE, **shown: Any
    ) -> Response:
        """The page, or the file. Raises InventoryError for a parameter that it does not have."""
        given = dict(request.query_params)
        chosen = {choice.name: given.pop(choice.name, "") for choice in self.choices}
        cursor, form = given.pop(CURSOR, None), given.pop(FORM, "")
        _nothing_else(given, chosen)
        asked = self.asked({**chosen, **place})
        if form == "csv":
            return lister.csv(self.listing, asked, f"{self.noun.replace(' ', '-')}.csv")
        here = self.path.format(**place)
        fields = list(dict.fromkeys([*(column.name for column in self.columns), *self.hidden]))
        found = read_page(reading(), self.listing, asked, Window(ROWS, cursor, fields, with_count=self.counts))
        table = Table(
            self.columns,
            found.records(),
            following=address(here, {**chosen, CURSOR: found.next}) if found.next else None,
            whole=address(here, {**chosen, FORM: "csv"}),
            nothing=f"There are no {self.noun} like that." if any(chosen.values()) else f"There are no {self.noun}.",
        )
        number = "more than 10,000" if found.count is None else f"{found.count:,}"
        described = {
            "title": self.title.format(**place),
            "about": self.about,
            "table": table,
            "asked": Form(here, self.choices, chosen) if self.choices else None,
            "number": f"{number} {self.noun}" if self.counts else "",
        }
        return page(request, person, self.tab, self.template, **described, **shown)


def _nothing_else(given: Chosen, known: Chosen) -> None:
    for name in given:
        raise InventoryError(f"there is no filter {name!r} here.{near(name, known)}", parameter=name)
