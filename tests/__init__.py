"""The tests mirror the package; what several rooms use lies at the top."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""
