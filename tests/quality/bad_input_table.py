"""The table of bad input for docs/gates.md, of what really happens: ``python -m tests.quality.bad_input_table``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from tests import ROOT
from tests.quality.bad_input import AREAS, Kind, Stopped, World
from tests.quality.bad_input_kinds import BAD, GOOD

DOCUMENT = ROOT / "docs" / "gates.md"
BEGIN, END = "<!-- bad input: made by python -m tests.quality.bad_input_table -->", "<!-- end of bad input -->"


def table(rows: Iterable[tuple[Kind, Stopped]]) -> str:
    """The table of each area, and what is let through."""
    told = list(rows)
    lines = []
    for area in AREAS:
        lines += [f"**{area.capitalize()}**", "", "| input | stopped by | message |", "|---|---|---|"]
        lines += [row(kind, stopped) for kind, stopped in told if kind.area == area]
        lines += ["", let_in(area), ""]
    return "\n".join(lines)


def row(kind: Kind, stopped: Stopped) -> str:
    """One line of the table."""
    return f"| {kind.what} | {stopped.by} | {_cell(stopped.message)} |"


def let_in(area: str) -> str:
    """What is not stopped, in a sentence."""
    found = "; ".join(kind.what for kind in GOOD if kind.area == area)
    return f"Let in, since nothing is wrong with it: {found}."


def _cell(message: str) -> str:
    """One line that Markdown leaves alone."""
    shown = message.strip().replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{shown}`"


def in_document() -> str:
    """The table as it stands in the document."""
    return DOCUMENT.read_text().split(BEGIN)[1].split(END)[0].strip()


def _taken(server: embedded.EmbeddedPostgres, kind: Kind, folder: Path) -> Stopped | None:
    """What stopped the input on its way into an inventory of its own."""
    server.create_database("bad_input_of_kind", template="bad_input")
    database = Database(server.url("bad_input_of_kind"))
    try:
        return World(database, folder).take(kind, f"run of {kind.id}")
    finally:
        database.dispose()
        server.drop_database("bad_input_of_kind")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="dynamo-bad-input-") as folder:
        server = embedded.start(Path(folder) / "postgres", durable=False, create=True)
        try:
            server.create_database("bad_input")
            database = Database(server.url("bad_input"))
            migrate.upgrade(database)
            World(database, Path(folder)).fill()
            database.dispose()
            stopped = [(kind, _taken(server, kind, Path(folder))) for kind in BAD]
        finally:
            embedded.stop(Path(folder) / "postgres")
    print(table((kind, one) for kind, one in stopped if one is not None))


if __name__ == "__main__":
    main()
