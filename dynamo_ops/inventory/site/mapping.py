"""LFN → PFN at a site: a plain prefix, or chains of (regex, replacement); and what is refused (SEMANTICS §1).

Pure. A PFN here is a URL whose path is percent-encoded, ready for FTS and for HTTP; but that of root:// is left as it
is, for no XRootD client decodes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.regex import bounded, check_replacement
from dynamo_ops.base.settings import MANAGED_PREFIX
from dynamo_ops.inventory.lfn import SAFE, why_not_carried

_NEVER_ENCODED = frozenset({"root", "roots", "xroot", "xroots"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DOLLAR_GROUP = re.compile(r"\$(\d+)")


def check_lfn(lfn: str, managed_prefix: str) -> str:
    """``lfn`` itself, if it is the canonical name of a file below ``managed_prefix``; else ``InventoryError``.

    Refused: relative names, empty, ``.`` or ``..`` parts, a trailing slash (a directory), control characters, names
    outside the managed prefix. What Dynamo writes or deletes can then not leave its own area.
    """
    reason = _why_refused(lfn, managed_prefix)
    if reason:
        raise InventoryError(f"LFN {lfn!r} refused: {reason}", lfn=lfn, reason=reason)
    return lfn


def _why_refused(lfn: str, managed_prefix: str) -> str | None:
    if not lfn.startswith("/"):
        return "it does not start with a slash"
    if _CONTROL.search(lfn) or "\\" in lfn:
        return "it has a control character or a backslash"
    if any(part in ("", ".", "..") for part in lfn.split("/")[1:]):
        return "it has an empty, '.' or '..' part"
    root = managed_prefix.rstrip("/")
    if not lfn.startswith(root + "/"):
        return f"it is outside the managed prefix {managed_prefix!r}"
    return None


@dataclass(frozen=True)
class Endpoint:
    """How one site is reached by one protocol.

    ``prefix``: PFN = prefix + LFN; with ``chains``, the prefix that every PFN must start with (empty: not checked).
    ``chains``: tried in order; in a chain each regex must match at the start and replaces what it matched.
    ``managed_prefix``: the LFN area that is Dynamo's; nothing outside is mapped.
    """

    site: str
    protocol: str
    prefix: str
    chains: tuple[tuple[tuple[str, str], ...], ...] = ()
    managed_prefix: str = MANAGED_PREFIX
    site_id: int = field(default=0, compare=False)

    @cached_property
    def _compiled(self) -> list[list[tuple[re.Pattern[str], str]]]:
        try:
            return [[_link(pattern, replacement) for pattern, replacement in chain] for chain in self.chains]
        except ValueError as error:
            raise InventoryError(
                f"site {self.site}: its {self.protocol} mapping cannot be used: {error}",
                site=self.site,
                protocol=self.protocol,
            ) from error

    def pfn(self, lfn: str) -> str:
        """The PFN of a file. ``InventoryError``: the LFN is refused, no chain matches, or the PFN leaves the prefix."""
        return self._map(check_lfn(lfn, self.managed_prefix))

    def directory_pfn(self, lfn_directory: str) -> str:
        """The PFN of a directory at or below the managed prefix, with a trailing slash."""
        name = lfn_directory.rstrip("/")
        if name != self.managed_prefix.rstrip("/"):
            check_lfn(name, self.managed_prefix)
        return self._map(name).rstrip("/") + "/"

    def name_fault(self, lfn: str) -> str | None:
        """Why a file or directory that a listing names is none that this endpoint can be asked for; None where it is.

        The mapping plays no part: what that does wrong it does to all names."""
        return _why_refused(lfn, self.managed_prefix) or why_not_carried(lfn, self.protocol)

    def listed_lfn(self, directory: str, name: str) -> str:
        """The LFN of what a listing of the LFN directory calls ``name``. ``InventoryError``: chains name files anew,
        so that a name at the storage says nothing of the LFN."""
        lfn = f"{directory}/{name}"
        last = name if self.protocol in _NEVER_ENCODED else quote(name, safe=SAFE)
        if self.chains and self.pfn(lfn).rsplit("/", 1)[-1] != last:
            raise InventoryError(
                f"site {self.site}: the mapping of {lfn!r} cannot be turned round", site=self.site, lfn=lfn
            )
        return lfn

    def _map(self, lfn: str) -> str:
        is_raw = self.protocol in _NEVER_ENCODED
        if reason := why_not_carried(lfn, self.protocol):
            raise InventoryError(f"site {self.site}: {lfn!r} is not asked for: {reason}", site=self.site, lfn=lfn)
        if not self.chains:
            return (
                _absolute(self.prefix.rstrip("/") + lfn) if is_raw else self.prefix.rstrip("/") + quote(lfn, safe=SAFE)
            )
        mapped = self._by_chains(lfn)
        if mapped is None:
            raise InventoryError(f"site {self.site}: no {self.protocol} chain maps {lfn!r}", site=self.site, lfn=lfn)
        pfn = _absolute(mapped) if is_raw else _quote_path(mapped)
        if ".." in pfn.split("/") or not pfn.startswith(self.prefix):
            raise InventoryError(
                f"site {self.site}: {lfn!r} maps to {pfn!r}, outside {self.prefix!r}", site=self.site, lfn=lfn, pfn=pfn
            )
        return pfn

    def _by_chains(self, lfn: str) -> str | None:
        for chain in self._compiled:
            name: str | None = lfn
            for pattern, replacement in chain:
                if name is None or not pattern.match(name):
                    name = None
                    break
                name = pattern.sub(replacement, name, count=1)
            if name is not None:
                return name
        return None


def _absolute(url: str) -> str:
    """A root:// URL with the double slash that makes its path absolute."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}//{path.lstrip('/')}"


def _quote_path(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return quote(url, safe=SAFE)
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}{slash}{quote(path, safe=SAFE)}"


def link_fault(pattern: str, replacement: str) -> str | None:
    """Why a (regex, replacement) of a chain cannot be used; None where it can."""
    try:
        _link(pattern, replacement)
    except ValueError as error:
        return str(error)
    return None


def _link(pattern: str, replacement: str) -> tuple[re.Pattern[str], str]:
    """``ValueError``: the one is no regular expression, or could take for ever; the other names no group of it."""
    compiled, written = bounded(pattern), _DOLLAR_GROUP.sub(r"\\g<\1>", replacement)
    check_replacement(compiled, written)
    return compiled, written


def parse_chains(mapping: Sequence[Sequence[Sequence[str]]] | None) -> tuple[tuple[tuple[str, str], ...], ...]:
    """The chains of ``site_endpoints.mapping``; null or an empty list: none, so the prefix alone."""
    return tuple(tuple((str(rx), str(to)) for rx, to in chain) for chain in mapping or ())
