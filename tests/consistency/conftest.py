"""The grid and the inventory that file operations are tested with."""

from tests.fileops.conftest import identity, inventory, pocket, world

__all__ = ["identity", "inventory", "pocket", "world"]
