"""What is asked of the database, and what is asked of a server, is asked in one way."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

from dynamo_ops.cli import afar, here

NOUNS = sorted(module.name for module in pkgutil.iter_modules(afar.__path__) if module.name != "server")


def acts(module: ModuleType) -> dict[str, str]:
    """The functions of a module that commands may call, with what they take and answer."""
    return {
        name: str(inspect.signature(function))
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("noun", NOUNS)
def test_a_double_takes_and_answers_the_same(noun: str) -> None:
    at_home = acts(import_module(f"{here.__name__}.{noun}"))
    doubles = acts(import_module(f"{afar.__name__}.{noun}"))
    assert doubles
    assert doubles.items() <= at_home.items()
