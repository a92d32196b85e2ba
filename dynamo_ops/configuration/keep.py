"""The section ``keep`` of ``dynamo.yaml``: how long what is long over is kept (docs/operating.md)."""

from __future__ import annotations

from pydantic import Field

from dynamo_ops.base.config_file import Strict, read_section
from dynamo_ops.base.settings import MAIN_FILE, Settings


class KeepSettings(Strict):
    """How long what is long over is kept, beside `history_keep_days` and `events.keep_days`. What is still asked stays
    however old it is: docs/operating.md."""

    plan_files_days: float = Field(366, ge=30)
    """The files of plans: every decision, and what it was made of. What a plan did is kept as history."""
    findings_days: float = Field(366, ge=30)
    """Consistency checks and what they found."""
    lists_days: float = Field(60, ge=7)
    """The lists that consistency checks compared, which are files."""
    accesses_days: int = Field(1_096, ge=400)
    """Accesses by day; of earlier ones the sum and the last day stay, by dataset and site. Jobs by day."""


def keep_settings(settings: Settings) -> KeepSettings:
    """Raises SettingsError that names each fault."""
    return read_section(KeepSettings, settings.keep, settings.config_dir / MAIN_FILE, "keep")
