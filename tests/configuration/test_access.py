"""The section ``access`` names the roles that there are."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from dynamo_ops.access.actions import DEFAULT_LIMITS
from dynamo_ops.access.person import Role
from dynamo_ops.base.settings import AccessSettings, RoleName


def test_roles_of_the_settings_are_ours() -> None:
    assert get_args(RoleName) == tuple(Role)
    assert AccessSettings().free_size == DEFAULT_LIMITS.free_bytes


@pytest.mark.parametrize("values", [{"map": {"expert": ["god"]}}, {"default": "operator"}, {"free_size": "-1 TB"}])
def test_what_is_no_role_or_too_much_by_default_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AccessSettings.model_validate(values)
