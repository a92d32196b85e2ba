"""The independent check: every storage directory against the inventory. Uses none of Dynamo's decisions or clients.

Reads the files themselves (name, size, adler32 of the bytes) and one SQL statement's list of what should be there.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

MANAGED = ("store/data", "store/express")
EXPECTED_SQL = """
    SELECT s.name, f.lfn, f.size_bytes, f.adler32
    FROM block_replicas r JOIN sites s ON s.id = r.site_id JOIN files f ON f.block_id = r.block_id
    WHERE r.is_complete OR EXISTS (SELECT FROM block_replica_files p
          WHERE p.block_id = r.block_id AND p.site_id = r.site_id AND p.file_id = f.id)
"""


@dataclass
class Proof:
    """``differences``: in plain words, one a file. ``num_unmanaged``: files outside the managed areas, not compared."""

    num_files: int = 0
    size_bytes: int = 0
    num_unmanaged: int = 0
    differences: list[str] = field(default_factory=list)


def prove(database_url: str, roots: dict[str, Path]) -> Proof:
    """Compare every site's directory with the inventory of ``database_url``. ``roots``: site → its directory."""
    proof = Proof()
    expected = _expected(database_url)
    for site, root in sorted(roots.items()):
        _compare(site, root, expected.pop(site, {}), proof)
    for site, files in expected.items():
        proof.differences.append(f"{site}: {len(files)} files in the inventory, but the site has no storage directory")
    return proof


def _expected(database_url: str) -> dict[str, dict[str, tuple[int, str]]]:
    connection = psycopg2.connect(database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(EXPECTED_SQL)
            expected: dict[str, dict[str, tuple[int, str]]] = {}
            for site, lfn, size, adler32 in cursor:
                expected.setdefault(site, {})[lfn] = (size, adler32)
            return expected
    finally:
        connection.close()


def _compare(site: str, root: Path, expected: dict[str, tuple[int, str]], proof: Proof) -> None:
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        relative = path.relative_to(root).as_posix()
        if not relative.startswith(MANAGED):
            proof.num_unmanaged += 1
            continue
        content = path.read_bytes()
        found = (len(content), f"{zlib.adler32(content):08x}")
        wanted = expected.pop(f"/{relative}", None)
        if wanted is None:
            proof.differences.append(f"{site}: /{relative} is on storage, not in the inventory")
        elif wanted != found:
            proof.differences.append(
                f"{site}: /{relative} has {found[0]} bytes, adler32 {found[1]}; "
                f"the inventory says {wanted[0]} bytes, {wanted[1]}"
            )
        else:
            proof.num_files += 1
            proof.size_bytes += found[0]
    proof.differences += [f"{site}: {lfn} is in the inventory, not on storage" for lfn in sorted(expected)]
