"""A page that is a list: filter, rows, next page, all as CSV. A module says what is listed; the rest is here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near
from dynamo_ops.query.paging.frame import FrameListing, read_frame_page
from dynamo_ops.query.paging.listing import Filter, Listing, Page, Window, read_page
from dynamo_web.caller.login import Who
from dynamo_web.databases import reading
from dynamo_web.lists import PATIENCE_S, Lister, ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, segment
from dynamo_web.pages.part.table import Choice, Column, Table
from dynamo_web.pages.part.table import Filter as Form

ROWS = 50
"""Of a page."""
CURSOR, FORM = "cursor", "form"
Chosen = Mapping[str, str]
NOWHERE: Chosen = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class ListPage(ABC):
    """``path``: its address below /ui, with the names of ``place`` in braces. ``hidden``: fields that links need and no
    column shows. ``counts``: whether it says how many rows there are."""

    tab: str
    path: str
    title: str
    noun: str
    columns: Sequence[Column]
    choices: Sequence[Choice] = ()
    hidden: Sequence[str] = ()
    about: str = ""
    template: str = "list.html"
    counts: bool = False

    @abstractmethod
    def read(self, lister: Lister, chosen: Chosen, window: Window) -> Page:
        """The rows of a page. ``chosen``: what the filter says, and the place."""

    @abstractmethod
    def file(self, lister: Lister, chosen: Chosen, name: str) -> Response:
        """All of them, as CSV."""

    def serve(self, router: APIRouter) -> None:
        """At its address, as it is."""

        def show(request: Request, person: Who, lister: ListerDep) -> Response:
            return self.answer(request, person, lister)

        router.add_api_route(f"/{self.path}", show)

    def answer(
        self, request: Request, person: Person, lister: Lister, place: Chosen = NOWHERE, **shown: Any
    ) -> Response:
        """The page, or the file. Raises InventoryError for a parameter that it does not have."""
        given = dict(request.query_params)
        chosen = {choice.name: given.pop(choice.name, "") for choice in self.choices}
        cursor, form = given.pop(CURSOR, None), given.pop(FORM, "")
        _nothing_else(given, chosen)
        if form == "csv":
            return self.file(lister, {**chosen, **place}, f"{self.noun.replace(' ', '-')}.csv")
        here = self.path.format(**{name: segment(value) for name, value in place.items()})
        fields = list(dict.fromkeys([*(column.name for column in self.columns), *self.hidden]))
        part = self.read(lister, {**chosen, **place}, Window(ROWS, cursor, fields, with_count=self.counts))
        table = Table(
            self.columns,
            part.records(),
            following=address(here, {**chosen, CURSOR: part.next}) if part.next else None,
            whole=address(here, {**chosen, FORM: "csv"}),
            nothing=f"There are no {self.noun} like that." if any(chosen.values()) else f"There are no {self.noun}.",
        )
        number = "more than 10,000" if part.count is None else f"{part.count:,}"
        described = {
            "title": self.title.format(**place),
            "about": self.about,
            "table": table,
            "asked": Form(here, self.choices, chosen) if self.choices else None,
            "number": f"{number} {self.noun}" if self.counts else "",
        }
        return page(request, person, self.tab, self.template, **described, **shown)


@dataclass(frozen=True, kw_only=True)
class Listed(ListPage, Generic[Filter]):
    """Rows of the database. ``asked``: the question that a filter means."""

    listing: Listing[Filter]
    asked: Callable[[Chosen], Filter]

    def read(self, _lister: Lister, chosen: Chosen, window: Window) -> Page:
        """By an index."""
        return read_page(reading(), self.listing, self.asked(chosen), window)

    def file(self, lister: Lister, chosen: Chosen, name: str) -> Response:
        """Row by row, as they are read."""
        return lister.csv(self.listing, self.asked(chosen), name)


@dataclass(frozen=True, kw_only=True)
class Framed(ListPage):
    """Rows of a frame, as the files of a plan hold them."""

    frame: Callable[[Chosen], FrameListing]

    def read(self, lister: Lister, chosen: Chosen, window: Window) -> Page:
        """More or less whole: one for somebody at a time."""
        with lister.heavy(PATIENCE_S):
            return read_frame_page(reading(), self.frame(chosen), window)

    def file(self, lister: Lister, chosen: Chosen, name: str) -> Response:
        """Some thousand rows at a time."""
        return lister.csv_frame(lambda: self.frame(chosen), name)


def _nothing_else(given: Chosen, known: Chosen) -> None:
    for name in given:
        raise InventoryError(f"there is no filter {name!r} here.{near(name, known)}", parameter=name)
