"""The page of every command is that of the commands there are."""

from __future__ import annotations

import re

import pytest

from dynamo_ops.cli.reference import LEFT_OUT, markdown
from tests import ROOT
from tests.cli.test_walk import LEAVES


def test_the_page_is_current() -> None:
    """``python -m dynamo_ops.cli.reference > docs/reference.md`` makes it anew."""
    assert (ROOT / "docs" / "reference.md").read_text() == markdown()


@pytest.mark.parametrize("words", LEAVES)
def test_a_command_has_its_section_with_all_that_it_takes(words: str) -> None:
    (section,) = re.findall(rf"^##+ dynamo {words}\n(.*?)(?=^#|\Z)", markdown(), re.M | re.S)
    assert section.startswith(f"\n```synopsis\ndynamo {words}")
    parameters = [parameter for parameter in LEAVES[words].params if not LEFT_OUT & set(parameter.opts)]
    assert section.count("\n| `") == len(parameters)
    for parameter in parameters:
        assert " ".join(parameter.help.split()).replace("|", "&#124;") in section
        assert ("Required." in section) or not (parameter.required and parameter.param_type_name == "option")
