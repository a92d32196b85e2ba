"""What a list says of itself. It is written last: a folder without it is no list."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dynamo_ops.base.errors import InventoryError

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """``parts``: files of lines by name, and how many lines each has. ``key``: the identity of the function that made
    the keys; ``num_keys``: by partition. ``notes``: what the writer has to say. ``end``: the list is whole."""

    parts: dict[str, int]
    key: dict[str, Any]
    num_keys: list[int]
    notes: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT
    end: bool = True

    @property
    def num_lines(self) -> int:
        """Of the list."""
        return sum(self.parts.values())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it, whole or not at all."""
    unfinished = folder / f"{MANIFEST}.unfinished"
    unfinished.write_text(json.dumps(asdict(manifest), indent=1))
    unfinished.replace(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """What the list in ``folder`` says. ``InventoryError`` where it is not whole, or of a format of tomorrow."""
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
    except (FileNotFoundError, TypeError, ValueError) as error:
        raise no_list(folder, "it has no readable manifest") from error
    if not manifest.end or manifest.format != FORMAT or sum(manifest.num_keys) != manifest.num_lines:
        raise no_list(folder, "it is not whole, or of another format")
    return manifest


def no_list(path: Path, why: str) -> InventoryError:
    """The error for what is no list."""
    return InventoryError(f"{path} is no list of files: {why}. Run the check anew", path=str(path))
