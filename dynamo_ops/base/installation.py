"""Which installation this is: the folder that ``DYNAMO_HOME`` names, else the one with a ``dynamo.toml`` here or above.

``dynamo.toml`` marks a home and says where its parts are; ``dynamo init`` writes it last. How the installation works is
in the ``dynamo.yaml`` of its configuration folder.
"""

from __future__ import annotations

import os
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.text import near

VARIABLE = "DYNAMO_HOME"
MARKER = "dynamo.toml"
KEYS = ("config", "policies", "database")


def _shipped() -> tuple[Path, Path]:
    """Where the files lie that we ship: those of an installation, and those that Airflow reads. In a checkout, or as
    pip has put them: with the environment, or with a user's own packages."""
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file():
        return root / "include", root
    installed = [
        Path(sysconfig.get_path("data", scheme)) / "share" / "dynamo"
        for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    ]
    folder = next((folder for folder in installed if (folder / "config").is_dir()), installed[0])
    return folder, folder


SHIPPED, FOR_AIRFLOW = _shipped()
"""``config`` and ``policies``; ``dags`` and ``plugins``."""


@dataclass(frozen=True)
class Installation:
    """Where the parts of an installation are. ``db_url`` None: PostgreSQL from the wheel, in ``home/postgres``."""

    home: Path
    config_dir: Path
    policy_dir: Path
    db_url: str | None

    @property
    def places(self) -> dict[str, Any]:
        """As settings; the folder of the settings themselves aside."""
        database = {"db_url": self.db_url} if self.db_url else {}
        return {"home": self.home, "policy_dir": self.policy_dir, **database}


def find_installation() -> Installation | None:
    """The installation of this process; None if ``DYNAMO_HOME`` is not set and no folder from here up is a home.

    Raises SettingsError if ``DYNAMO_HOME`` names no home, or a ``dynamo.toml`` is wrong.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return read_installation(_named_home(named))
    homes = (folder for folder in _folders_up() if os.path.isfile(folder / MARKER))
    home = next(homes, None)
    return read_installation(home) if home else None


def read_installation(home: Path) -> Installation:
    """What the ``dynamo.toml`` of ``home`` says. Raises SettingsError if it is not there or wrong."""
    file = home / MARKER
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _no_home(home) from None
    except NotADirectoryError:
        raise wrong_place(home, f"is a file, not a folder; set {VARIABLE} to the folder of an installation") from None
    except OSError as error:
        reason = f"cannot be read: {error.strerror}; work as the user that the installation belongs to"
        raise wrong_place(file, reason) from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise wrong_place(file, f"is not TOML: {error}") from error
    _check(file, entries)
    return Installation(
        home=home,
        config_dir=home / entries.get("config", "config"),
        policy_dir=home / entries.get("policies", "policies"),
        db_url=entries.get("database"),
    )


def no_installation() -> SettingsError:
    """The error of whoever needs an installation where there is none."""
    return SettingsError(
        f"no installation here: {VARIABLE} is not set, and neither this folder nor one above has a {MARKER}; "
        f"`dynamo init DIR` makes one, `export {VARIABLE}=DIR` names one",
        file="",
        key="home",
        reason="no installation",
    )


def _named_home(named: str) -> Path:
    if not named.strip():
        raise SettingsError(
            f"{VARIABLE} is set and empty: name the folder of an installation, or unset it",
            file="",
            key="home",
            reason="empty",
        )
    return Path(named).expanduser().absolute()


def _folders_up() -> Iterator[Path]:
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return
    yield from (here, *here.parents)


def _no_home(home: Path) -> SettingsError:
    if not home.is_dir():
        return wrong_place(
            home,
            f"there is no such folder; `dynamo init {quote(str(home))}` makes an installation there, or set {VARIABLE} "
            "to another one (from the present folder, unless it begins with /)",
        )
    if (home / "postgres").is_dir():
        return wrong_place(
            home,
            f"has a database, but no {MARKER}: if it is an installation of before, write one "
            "(docs/operating.md, The home)",
        )
    return wrong_place(
        home,
        f"is no installation, it has no {MARKER}; `dynamo init {home}` makes one there, or set {VARIABLE} to "
        "the folder of one",
    )


def _check(file: Path, entries: dict[str, Any]) -> None:
    for key, entry in entries.items():
        if key not in KEYS:
            raise wrong_place(file, f"unknown key {key!r}; there are {', '.join(KEYS)}{near(key, KEYS)}")
        if not isinstance(entry, str) or not entry.strip():
            raise wrong_place(file, f"{key}: expected a text in quotes that is not empty")


def wrong_place(place: Path, reason: str) -> SettingsError:
    """The error of a folder or file that is not what an installation needs."""
    return SettingsError(f"{place}: {reason}", file=str(place), key="home", reason=reason)
