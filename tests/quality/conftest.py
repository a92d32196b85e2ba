"""The pocket grid as the outside world."""

from __future__ import annotations

from tests.sources.pocket import grid, own_grid, shared_grid

__all__ = ["grid", "own_grid", "shared_grid"]
