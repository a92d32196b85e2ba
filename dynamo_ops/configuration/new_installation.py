"""The files of a new installation: the shipped configuration and policies, and the mark that it is one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dynamo_ops.base.installation import MARKER, SHIPPED, wrong_place

LAST_COPIES = "  last_copies: never   "
"""The beginning of the line of the shipped ``gates.yaml``; its comment stays in its column."""


def new_files(home: Path) -> dict[Path, Path]:
    """The files of a new installation → those that they are copies of. Raises SettingsError naming one that is there.
    Whoever is about to make an installation asks first, before anything is made."""
    files = {
        home / file.relative_to(SHIPPED): file
        for part in ("config", "policies")
        for file in sorted((SHIPPED / part).rglob("*"))
        if file.is_file()
    }
    if not files:
        raise wrong_place(SHIPPED, "has no configuration to begin with: install Dynamo anew")
    for place in (home, *home.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise wrong_place(place, "is a file, not a folder; choose another folder")
    for file in (home / MARKER, *files):
        if os.path.lexists(file):
            raise wrong_place(file, "is there already and is not overwritten; choose another folder, or move it away")
    return files


def write_files(files: dict[Path, Path], *, last_copies: str) -> None:
    """Write ``new_files``, with ``last_copies`` in ``gates.yaml``. What is there meanwhile is not overwritten."""
    for file, shipped in files.items():
        text = shipped.read_text(encoding="utf-8")
        if file.name == "gates.yaml":
            assert text.count(LAST_COPIES) == 1
            text = text.replace(LAST_COPIES, f"  last_copies: {last_copies:<8}")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as written:
            written.write(text)


def mark(home: Path, *, config: str = "config", policies: str = "policies", database: str | None = None) -> None:
    """Make ``home`` an installation, last of all. Paths are relative to it. Where it names a database only its owner
    may read it: the URL may hold a password."""
    named = {"config": config, "policies": policies} | ({"database": database} if database else {})
    lines = [f"{key} = {json.dumps(entry, ensure_ascii=False)}" for key, entry in named.items()]
    if not database:
        lines.append('# database = "postgresql://…"    # without it: PostgreSQL from the wheel, in the folder postgres')
    text = "\n".join(["# This folder is an installation of Dynamo. Paths are relative to it.", *lines, ""])
    mode = 0o600 if database else 0o644
    with open(home / MARKER, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, mode)) as file:
        file.write(text)
