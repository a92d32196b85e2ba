"""The sub-commands of ``dynamo``: each is imported when it is called, so that ``--help`` imports none."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from dynamo_ops.cli.terminal.usage import Group
from dynamo_ops.cli.terminal.way import check_core


@dataclass(frozen=True)
class Noun:
    """``place``: module below ``dynamo_ops.cli``, ``:`` and its ``typer.Typer`` or function. ``help``: the first
    sentence of what that says itself."""

    name: str
    place: str
    help: str

    def load(self) -> TyperCommand | TyperGroup:
        """The command itself."""
        module, _, name = self.place.partition(":")
        command = getattr(_imported(f"dynamo_ops.cli.{module}"), name)
        shell = typer.Typer(add_completion=False, rich_markup_mode=None)
        if isinstance(command, typer.Typer):
            shell.add_typer(command, name=self.name, cls=Group)
        else:
            shell.command(self.name)(command)
            shell.command("x")(lambda: None)  # a shell of one command would be that command
        loaded: Any = get_group(shell).commands[self.name]
        for subcommand in getattr(loaded, "commands", {}).values():
            subcommand.short_help = first_sentence(subcommand.help or "")  # else Click cuts it at the end of the line
        return loaded  # type: ignore[no-any-return]


def _imported(module: str) -> ModuleType:
    """The module. What comes with it stays: the collector of cycles looks at it neither now nor later."""
    if module in sys.modules:
        return sys.modules[module]
    gc.disable()
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("dynamo_ops"):
            check_core()
        raise
    finally:
        gc.freeze()
        gc.enable()


def first_sentence(text: str) -> str:
    """What a text says first, on one line."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    end = paragraph.find(". ")
    return paragraph if end < 0 else paragraph[: end + 1]


NOUNS = (
    Noun("init", "machine.init:init", "Make an installation in DIR: settings, policies, database."),
    Noun("login", "machine.login:login", "Give commands to a server, over REST, from now on."),
    Noun("logout", "machine.login:logout", "Forget the token for a server."),
    Noun("whoami", "machine.login:whoami", "Who one is, where, and what one may."),
    Noun("server", "machine.login:server_app", "Servers that one has logged in to: which is meant."),
    Noun("config", "machine.config:app", "The configuration: check it, look settings up."),
    Noun("inventory", "catalogue.inventory:app", "What the inventory knows."),
    Noun("dataset", "catalogue.dataset:app", "Datasets: find them, what is where, their files."),
    Noun("replica", "catalogue.replica:app", "Single copies: call them bad or suspicious; list these."),
    Noun("inject", "catalogue.inject:inject", "Write a JSON document into the inventory: all or nothing."),
    Noun("invalidate", "catalogue.invalidate:invalidate", "Take what a JSON document names out of it; undo that."),
    Noun("invalidated", "catalogue.invalidate:invalidated", "What was declared invalid, by whom, when and why."),
    Noun("detox", "decision.detox:app", "Detox: what would be deleted, and why."),
    Noun("dealer", "decision.dealer:app", "Dealer: what would be copied where, and why."),
    Noun("plan", "decision.plan:app", "Plans of Detox and Dealer."),
    Noun("policy", "decision.policy:app", "Policies: check, lint, test; which variables there are."),
    Noun("history", "decision.history:app", "What Detox and Dealer did, cycle by cycle."),
    Noun("lock", "people.lock:app", "Locks: what must not be deleted, where, until when."),
    Noun("quota", "catalogue.quota:app", "Quotas: of partitions at sites, and of groups and users."),
    Noun("request", "people.request:app", "Requests for copies and deletions: ask, list, show, cancel."),
    Noun("transfers", "transfers:app", "Copies and deletions under way: status, why, hold, cancel."),
    Noun("deletions", "series:deletions", "Deletions that ended, by hour or day."),
    Noun("stop", "pause:stop", "Let everything stand still, a KIND of act, or a site."),
    Noun("resume", "pause:resume", "End pauses: what stood still goes on with the next runs."),
    Noun("pauses", "pause:pauses", "What stands still, and what stood still; newest first."),
    Noun("site", "catalogue.site:app", "Sites: what can be used, what waits there, downtimes."),
    Noun("group", "catalogue.group:app", "Groups: what they own, where, and of how much they may."),
    Noun("usage", "catalogue.usage:usage", "How much there is: by site, group, status, tier; by day."),
    Noun("gate", "gate:app", "Gates: what they found, and the figures that they measured."),
    Noun("digest", "digest:digest", "What happened in 24 hours, and what needs a look."),
    Noun("access", "people.access:app", "Rights: who may do what, where, until when."),
    Noun("token", "people.token:app", "Tokens: credentials of programs, for some time."),
    Noun("audit", "people.audit:audit", "Who did what, newest first."),
    Noun("event", "people.event:app", "Events: what happened, and who is told of it."),
    Noun("airflow", "machine.airflow:app", "Airflow: the environment that its services need."),
    Noun("db", "machine.db:app", "The database: where it is, its schema, the embedded server."),
)


class LazyGroup(Group):
    """``NOUNS`` by name and help; the one that is called is loaded. They are one line each, at 80 columns."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {noun.name: TyperCommand(noun.name, help=noun.help) for noun in NOUNS}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As Click's; what it found is loaded."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and next(noun for noun in NOUNS if noun.name == name).load(), rest
