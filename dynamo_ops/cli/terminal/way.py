"""Which way a command goes: to the database of an installation, or to a server, over REST.

A command asks ``Way("lock").listed(…)``: a function of ``cli.here.lock``, or its double of ``cli.afar.lock``. Both take
the same and answer the same: documents of plain values. What has no double is only for who is at the installation.
"""

from __future__ import annotations

import os
from importlib import import_module, util
from typing import Any

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.base.installation import find_installation

SERVER, DATABASE = "DYNAMO_SERVER", "DYNAMO_DB_URL"
"""Variables that say which way: of a server, and of the database of settings."""
CORE = "sqlalchemy"
"""Without it there is no way but the one afar: it comes with ``dynamo-ops[core]``."""


class WayError(DynamoError):
    """What is asked for is not to be had this way. Facts: ``command``."""


class Way:
    """Functions of a noun, looked up when they are called: by then it is known which way to go."""

    def __init__(self, noun: str) -> None:
        self._noun = noun

    def __getattr__(self, name: str) -> Any:
        if not is_afar():
            check_core()
            return getattr(import_module(f"dynamo_ops.cli.here.{self._noun}"), name)
        place = f"dynamo_ops.cli.afar.{self._noun}"
        if util.find_spec(place) is None or not hasattr(module := import_module(place), name):
            raise not_from_afar()
        return getattr(module, name)


def is_afar() -> bool:
    """Whether a server is meant: by ``DYNAMO_SERVER``; else, where there is neither an installation nor a database, by
    a login that is remembered."""
    if os.environ.get(SERVER):
        return True
    if os.environ.get(DATABASE) or find_installation() is not None:
        return False
    from dynamo_ops.client.credentials import credentials_file, read_logins  # who has an installation starts without

    return credentials_file().exists() and read_logins().of() is not None


def not_from_afar() -> WayError:
    """The error of a command that only who is at the installation can give."""
    named = os.environ.get(SERVER)
    how = f"unset {SERVER}" if named else "or name it by DYNAMO_HOME"
    return WayError(f"this works on the installation itself, not over REST: do it there ({how})")


def check_core() -> None:
    """Raises WayError where only the client is installed."""
    if util.find_spec(CORE) is None:
        raise WayError(
            "this works on the database of an installation, and only the client is installed: name a server "
            f"(`dynamo login URL`, or {SERVER}), or install dynamo-ops[core]"
        )
