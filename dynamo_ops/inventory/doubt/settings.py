"""The section ``damage`` of ``dynamo.yaml``."""

from __future__ import annotations

from pydantic import Field, ValidationError

from dynamo_ops.base.config_file import Strict, faults_of
from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import MAIN_FILE, Settings


class DamageSettings(Strict):
    """When copies become suspicious, and how long what was declared invalid can be taken back: docs/bad-copies.md."""

    suspicious_after: int = Field(3, ge=1)
    """A copy is suspicious after so many transfers from it that failed by checksum or size, …"""
    suspicious_within_days: float = Field(7, gt=0)
    """… within so long."""
    undo_days: float = Field(90, ge=0)
    """How long after it was declared invalid a name may come in again (`dynamo invalidate --undo`)."""


AS_SHIPPED = DamageSettings()


def damage_settings(settings: Settings) -> DamageSettings:
    """Raises SettingsError that names each fault."""
    try:
        return DamageSettings.model_validate(settings.damage)
    except ValidationError as error:
        file = str(settings.config_dir / MAIN_FILE)
        raise SettingsError.of(faults_of(error, DamageSettings, file, below="damage")) from None
