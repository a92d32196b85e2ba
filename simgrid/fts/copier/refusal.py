"""Storages that refuse FTS's copies: by a fault of the site, or since the delegated proxy has run out meanwhile.

The texts, and when in a copy they come, are those of the real server (FTS_CONTRACT §12.3): a source refuses its stat, a
destination the look for what is there or the making of directories, both before any byte moves; a checksum that cannot
be had is missed after they have moved. FTS calls all of them irrecoverable.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from simgrid.faults import Faults
from simgrid.fts.copier.xroot import is_root
from simgrid.scenario import Scenario

Refusal = tuple[int, str]
"""errno and text."""


class Refusals:
    """What the storages of a scenario say to FTS, by URL; None: nothing is wrong."""

    def __init__(self, scenario: Scenario, faults: Faults) -> None:
        self._sites = {host: name for name, host in scenario.addresses.items()}
        self._guarded = {site.name for site in scenario.sites if site.guarded}
        self._is_open = scenario.anonymous_writes
        self._faults = faults

    def of_source(self, url: str) -> Refusal | None:
        """Before anything is read."""
        is_guarded = self._site(url) in self._guarded
        return _forbidden(url) if is_guarded and self._faults.fts.proxy_expired else None

    def of_destination(self, url: str) -> Refusal | None:
        """Before anything is written."""
        if self._faults.fts.proxy_expired and not self._is_open:
            return _forbidden(url)
        refuses = self._refuses(url)
        if refuses == "directory":
            return 13, f"Failed to create directory {url.rpartition('/')[0]}"
        return _forbidden(url) if refuses == "permission" else None

    def of_checksum(self, url: str) -> Refusal | None:
        """After it was written."""
        return (14, "Could not get the checksum") if self._refuses(url) == "checksum" else None

    def _refuses(self, url: str) -> str:
        name = self._site(url)
        return self._faults.site(name).refuses if name else ""

    def _site(self, url: str) -> str | None:
        return self._sites.get(urlsplit(url).hostname or "")


def _forbidden(url: str) -> Refusal:
    return (13, "Permission denied") if is_root(url) else (1, "HTTP 403 : Permission refused")
