"""LFN → PFN at a site: a plain prefix, or chains of (regex, replacement); and what is refused (SEMANTICS §1).

Pure. A PFN here is a URL whose path is percent-encoded, ready for FTS and for HTTP; but that of root:// is left as it
is, for no XRootD client decodes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, urlsplit

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.regex import bounded, check_replacement
from dynamo_ops.base.settings import MANAGED_PREFIX
from dynamo_ops.inventory.lfn import SAFE, why_not_carried

_NEVER_ENCODED = frozenset({"root", "roots", "xroot", "xroots"})
PLAIN = frozenset({"http", "dav"})
"""Protocols over which everything can be read on its way, so that nothing of ours goes along."""
_TLS_OF_ROOT = frozenset({"roots", "xroots"})
_SCHEMES = {
    "davs": frozenset({"davs", "https"}),
    "https": frozenset({"https"}),
    "dav": PLAIN,
    "http": frozenset({"http"}),
    "root": _NEVER_ENCODED,
    "xroot": _NEVER_ENCODED,
    "roots": _TLS_OF_ROOT,
    "xroots": _TLS_OF_ROOT,
    "file": frozenset({"file", ""}),
    "s3": frozenset({"s3"}),
    "srm": frozenset({"srm"}),
}
"""By protocol, with what its addresses begin. Of a protocol that is not ours they may begin with anything but what is
plain: nothing of ours goes there unprotected because somebody wrote ``http`` for ``https``."""
_ADDRESS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*))?(.*)", re.DOTALL)
_SRM_QUERY = "?SFN="
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
    def fault(self) -> str | None:
        """Why it cannot be used, whatever is asked for; None where it can. See ``endpoint_fault``."""
        return endpoint_fault(self.protocol, self.prefix, self.chains)

    def check(self) -> None:
        """``InventoryError`` where there is a ``fault``: of endpoints that were stored before such were refused."""
        if self.fault:
            raise InventoryError(
                f"site {self.site}: its {self.protocol} endpoint cannot be used: {self.fault}",
                site=self.site,
                protocol=self.protocol,
                prefix=self.prefix,
            )

    @cached_property
    def hosts(self) -> frozenset[str]:
        """Names of the hosts that its files are on; of chains, those that a replacement has as text."""
        ends = [self.prefix, *(chain[-1][1] for chain in self.chains if chain)]
        hosts = (urlsplit(end).hostname for end in ends if not _address_fault(self.protocol, end, is_whole=False))
        return frozenset(host.lower().rstrip(".") for host in hosts if host)

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
        self.check()
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
        if fault := _address_fault(self.protocol, mapped, is_name=True):
            raise InventoryError(
                f"site {self.site}: {lfn!r} is not asked for at {mapped!r}: {fault}", site=self.site, lfn=lfn
            )
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


def endpoint_fault(protocol: str, prefix: str, chains: Sequence[Sequence[Sequence[str]]] | None = None) -> str | None:
    """Why files are not asked for there by this protocol, in words; None where they may be.

    Addresses begin with the protocol's own scheme, and have no user, password, query or fragment: those would go
    wherever a name goes, into logs and into jobs of FTS. ``chains``: what is text in their last replacements.
    """
    if prefix and (fault := _address_fault(protocol, prefix)):
        return f"the prefix {_shown(prefix)!r}: {fault}"
    for chain in chains or ():
        if chain and (fault := _address_fault(protocol, str(chain[-1][1]), is_whole=False)):
            return f"the replacement {_shown(str(chain[-1][1]))!r}: {fault}"
    return None


def _address_fault(protocol: str, address: str, *, is_whole: bool = True, is_name: bool = False) -> str | None:
    """``is_whole``: it says host and all, it is no replacement that may only be a part. ``is_name``: of a file, so that
    question marks and hashes are those of the name."""
    parts = _ADDRESS.fullmatch(address)
    assert parts is not None
    scheme, host, path = (parts[1] or "").lower(), parts[2] or "", parts[3]
    own = _SCHEMES.get(protocol)
    if (is_whole or scheme) and (scheme not in own if own is not None else scheme in PLAIN):
        begins = " or ".join(f"{name}://" for name in sorted(own or ()) if name)
        return f"it begins with {scheme}://" if own is None else f"it does not begin with {begins}, as {protocol} does"
    if "@" in host:
        return "it has a user or password in it"
    if not is_name and ("?" in path.replace(_SRM_QUERY, "", 1) if protocol == "srm" else "?" in path):
        return "it has a query (?)"
    return "it has a fragment (#)" if not is_name and "#" in path else None


def _shown(address: str) -> str:
    """Without what may be a secret."""
    return re.sub(r"(?<=://)[^/?#]*@", "…@", address).partition("?")[0]


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
