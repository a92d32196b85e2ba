"""An installation's home for tests: with the shipped configuration, and no database."""

from __future__ import annotations

from pathlib import Path

from dynamo_ops.configuration.new_installation import mark
from tests import ROOT


def installed(home: Path, config: Path = ROOT / "include" / "config") -> str:
    """``home``, made an installation with ``config`` and the shipped policies, as a value of ``DYNAMO_HOME``."""
    home.mkdir(parents=True, exist_ok=True)
    mark(home, config=str(config), policies=str(ROOT / "include" / "policies"))
    return str(home)
