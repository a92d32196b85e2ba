"""The kinds of input that must be stopped, and those that must not."""

from __future__ import annotations

from collections.abc import Callable

from tests.quality.bad_input import (
    JETS,
    MUONS,
    SET_ASIDE,
    Drop,
    Kind,
    access,
    added,
    block,
    both,
    changed,
    dataset,
    demand,
    file,
    instead,
    site,
)

Change = Callable[[Drop], object]

NEW = "/Tops/Run2026B-v1/AOD"
LFN = "/store/data/Muons/Run2026A/b1_1.root"


def keep(number: int) -> Change:
    """The drop has only its first datasets."""

    def change(drop: Drop) -> None:
        drop.tables["datasets"] = drop.tables["datasets"][:number]

    return change


def statuses(status: str, number: int) -> Change:
    def change(drop: Drop) -> None:
        for row in drop.tables["datasets"][:number]:
            row["status"] = status

    return change


def sizes(size_bytes: int) -> Change:
    def change(drop: Drop) -> None:
        for row in drop.tables["blocks"]:
            row["size_bytes"] = size_bytes

    return change


def second_source(drop: Drop) -> None:
    lfns = [file(f"/store/data/second_{number}.root", JETS) for number in (1, 2)]
    drop.second = {"datasets": [dataset(JETS)], "blocks": [block("b1", JETS)], "files": lfns}


def later(drop: Drop) -> None:
    """The clock of the source is ahead of ours."""
    for row in drop.tables["datasets"]:
        row["last_update_at"] = "2026-04-01T00:00:00Z"


def renamed(drop: Drop) -> None:
    """The service tells its LFNs without the first folder."""
    for row in drop.tables["files"]:
        row["lfn"] = row["lfn"].removeprefix("/store")


def sites_with(status: str, number: int) -> Change:
    def change(drop: Drop) -> None:
        for row in drop.tables["sites"][:number]:
            row["status"] = status

    return change


def endpoints(*told: object) -> Change:
    return changed(sites={"endpoints": list(told)})


def without_lines(table: str) -> Change:
    return instead(**{table: b""})


DAVS = {"protocol": "davs", "prefix": "davs://host/"}

METADATA = [
    Kind("metadata", "a line that is cut off", instead(datasets=b'{"dataset": "/A/B'), "pull", "line 1: not JSON"),
    Kind(
        "metadata", "bytes that are no text", instead(datasets=b'{"dataset": "\xff\xfe"}\n'), "pull", "line 1: not JSON"
    ),
    Kind(
        "metadata",
        "a record without the name of its dataset",
        lambda d: d.row("datasets").pop("dataset"),
        "pull",
        "dataset is missing",
    ),
    Kind(
        "metadata",
        "a size in words",
        changed(files={"size_bytes": "big"}),
        SET_ASIDE,
        "size_bytes is 'big', expected a whole number",
    ),
    Kind(
        "metadata",
        "a time that is none",
        changed(blocks={"last_update_at": "yesterday"}),
        SET_ASIDE,
        "last_update_at is 'yesterday'",
    ),
    Kind("metadata", "a size with a fraction", changed(files={"size_bytes": 100.5}), SET_ASIDE, "size_bytes is 100.5"),
    Kind(
        "metadata", "a NUL in a name", added(datasets=[dataset("/A\0B/C/D")]), SET_ASIDE, r"a NUL in dataset '/A\x00B"
    ),
    Kind(
        "metadata", "a NUL in an LFN", changed(files={"lfn": "/store/a\0"}), SET_ASIDE, r"a NUL in lfn '/store/a\x00'"
    ),
    Kind("metadata", "half a character in an LFN", changed(files={"lfn": "/store/a\ud800"}), "pull", "not JSON"),
    Kind(
        "metadata",
        "a dataset with an empty name",
        added(datasets=[dataset("")]),
        "`dataset_fields`",
        "a field is missing in 1 dataset",
    ),
    Kind(
        "metadata",
        "a dataset without status",
        added(datasets=[dataset(NEW, status=None)]),
        SET_ASIDE,
        f"a field is missing: {NEW} status=None",
    ),
    Kind(
        "metadata",
        "a status that nobody defined",
        changed(datasets={"status": "shiny"}),
        SET_ASIDE,
        "status is 'shiny', expected one of unknown, deleted, deprecated",
    ),
    Kind(
        "metadata",
        "a name with a wildcard",
        added(datasets=[dataset("/Tops/*/AOD")]),
        SET_ASIDE,
        "/Tops/*/AOD",
    ),
    Kind(
        "metadata",
        "a name with a line break",
        added(datasets=[dataset("/Tops/Run\n/AOD")]),
        SET_ASIDE,
        r"/Tops/Run\n/AOD",
    ),
    Kind(
        "metadata",
        "a name of 10,000 characters",
        added(datasets=[dataset("/Tops/" + "x" * 9994)]),
        SET_ASIDE,
        "or more than 500 bytes: /Tops/xxx",
    ),
    Kind(
        "metadata",
        "a dataset twice",
        added(datasets=[dataset(MUONS, last_update_at="2026-01-02T00:00:00Z")]),
        "`datasets_listed`",
        "num_datasets=5 num_listed=4",
    ),
    Kind(
        "metadata",
        "a time of 0",
        changed(datasets={"last_update_at": "1970-01-01T00:00:00Z"}),
        SET_ASIDE,
        f"not after 1970-01-01: {MUONS}",
    ),
    Kind(
        "metadata",
        "a block of the year 2162",
        changed(blocks={"last_update_at": "2162-01-01T00:00:00Z"}),
        SET_ASIDE,
        "last_update_at=2162-01-01",
    ),
    Kind(
        "metadata",
        "half of the datasets vanished",
        keep(2),
        "`datasets_lost`",
        "lost more than 5% of its datasets in 1 pull: num_before=4 num_datasets=2",
    ),
    Kind(
        "metadata",
        "nothing at all",
        without_lines("datasets"),
        "`datasets_lost`, `datasets_listed`",
        "num_before=4 num_datasets=0",
    ),
    Kind("metadata", "datasets counted, but not listed", later, "`datasets_listed`", "num_datasets=4 num_listed=0"),
    Kind(
        "metadata",
        "two sources tell of one dataset",
        second_source,
        "`dataset_other_source`",
        f"another source tells of it too, in 1 dataset: {JETS} other_source=dbs2",
    ),
    Kind(
        "metadata",
        "half of the datasets become invalid at once",
        statuses("invalid", 2),
        "`datasets_invalidated`",
        "status_before=valid status=invalid",
        limits={"metadata": {"invalidated_tolerated": 1}},
    ),
    Kind(
        "metadata",
        "all blocks shrink to half",
        sizes(100),
        "`bytes_lost`",
        "more than 20% smaller",
        limits={"metadata": {"bytes_lost_tolerated": 0}},
    ),
    Kind(
        "metadata",
        "a new dataset of 5 TB, and no file listed at all",
        both(
            added(datasets=[dataset(NEW)], blocks=[block("b1", NEW, size_bytes=5 * 10**12, num_files=1000)]),
            without_lines("files"),
        ),
        "`files_listed`",
        "are not listed, in 9 closed blocks: ",
    ),
    Kind(
        "metadata",
        "a new block of 5 TB with some of its files",
        added(
            blocks=[block("b3", size_bytes=5 * 10**12, num_files=1000)],
            files=[file(f"/store/data/some_{n}.root", in_block="b3") for n in range(3)],
        ),
        "`files_listed`",
        f"in 1 closed block: {MUONS}#b3 num_files=1000 num_listed=3 size_bytes=5000000000000 listed_bytes=300",
    ),
    Kind(
        "metadata",
        "other names for all files",
        renamed,
        "`files_lost`",
        "known files, all together, are not told any more, in 8 blocks: ",
        limits={"metadata": {"files_lost_tolerated": 5}},
    ),
    Kind(
        "metadata",
        "details that were never pulled",
        lambda _drop: None,
        "`dataset_details`",
        "its blocks and files were not pulled in 4 datasets",
        has_details=False,
    ),
    Kind(
        "metadata",
        "a block without a name",
        changed(blocks={"block": ""}),
        SET_ASIDE,
        "a field is missing",
    ),
    Kind(
        "metadata",
        "a block with # in its name",
        added(blocks=[block("b#3", num_files=0, size_bytes=0)]),
        SET_ASIDE,
        f"{MUONS}#b#3",
    ),
    Kind(
        "metadata",
        "a block of negative size",
        changed(blocks={"size_bytes": -5}),
        SET_ASIDE,
        f"{MUONS}#b1 size_bytes=-5",
    ),
    Kind(
        "metadata",
        "a block of a dataset that nobody knows",
        added(blocks=[block("b9", NEW, size_bytes=0, num_files=0)]),
        "`block_dataset`",
        f"the dataset is unknown in 1 block: {NEW}#b9",
        by_plugin=True,
    ),
    Kind("metadata", "a block twice", added(blocks=[block()]), SET_ASIDE, f"{MUONS}#b1 times=2"),
    Kind(
        "metadata",
        "a file without size",
        changed(files={"size_bytes": None}),
        SET_ASIDE,
        f"a field is missing: {MUONS}#b1 {LFN} size_bytes=None",
    ),
    Kind(
        "metadata",
        "a file of negative size",
        changed(files={"size_bytes": -5}),
        SET_ASIDE,
        f"size_bytes is negative: {MUONS}#b1 {LFN} size_bytes=-5",
    ),
    Kind(
        "metadata",
        "a file of an absurd size",
        added(files=[file("/store/data/big.root", size_bytes=10**17)]),
        SET_ASIDE,
        "size_bytes is above 10,000,000,000,000",
    ),
    Kind(
        "metadata",
        "an LFN that leads out of the namespace",
        added(files=[file("/store/../../etc/passwd")]),
        SET_ASIDE,
        "not a clean absolute path, or",
    ),
    Kind(
        "metadata",
        "an LFN without a leading slash",
        added(files=[file("store/a.root")]),
        SET_ASIDE,
        "not a clean absolute path, or",
    ),
    Kind(
        "metadata",
        "an LFN with a line break",
        added(files=[file("/store/a\nb.root")]),
        SET_ASIDE,
        r"/store/a\nb.root",
    ),
    Kind(
        "metadata",
        "an LFN with a backslash",
        added(files=[file("/store/a\\b.root")]),
        SET_ASIDE,
        r"/store/a\b.root",
    ),
    Kind(
        "metadata",
        "an LFN as unfinished uploads have it",
        added(files=[file("/store/.a.root.dynamo-part")]),
        SET_ASIDE,
        "an unfinished upload of ours is called so",
    ),
    Kind(
        "metadata",
        "an LFN of 5,000 characters",
        added(files=[file("/store/" + "y" * 4993)]),
        SET_ASIDE,
        "longer than 1000 bytes",
    ),
    Kind(
        "metadata",
        "a checksum that is none",
        added(files=[file("/store/a.root", adler32="nonsense")]),
        SET_ASIDE,
        "adler32 is not a checksum",
    ),
    Kind(
        "metadata",
        "an LFN in two blocks",
        added(files=[file(LFN, in_block="b2")]),
        SET_ASIDE,
        f"listed more than once: {LFN} first_block={MUONS}#b1 last_block={MUONS}#b2",
    ),
    Kind(
        "metadata",
        "a file of a block that nobody knows",
        added(files=[file("/store/a.root", in_block="b7")]),
        SET_ASIDE,
        f"the block is unknown: {MUONS}#b7 /store/a.root",
    ),
    Kind(
        "metadata",
        "a known file in another block",
        changed(files={"block": "b2"}),
        SET_ASIDE,
        f"inventory_block={MUONS}#b1",
    ),
    Kind(
        "metadata",
        "a known file of another size",
        changed(files={"size_bytes": 101}),
        SET_ASIDE,
        "size_before=100 size_bytes=101",
    ),
    Kind(
        "metadata",
        "a known file with another checksum",
        changed(files={"adler32": "0000000b"}),
        SET_ASIDE,
        "adler32_before=0000000a adler32=0000000b",
    ),
    Kind(
        "metadata",
        "staged rows lost in a crash of the database",
        lambda _drop: None,
        "merge",
        "staged no metadata of source 'dbs'; pull them again",
        between="TRUNCATE staged_pulls, staged_datasets, staged_blocks, staged_files",
    ),
    Kind(
        "metadata",
        "staged again after the gate looked",
        lambda _drop: None,
        "merge",
        "it was staged again after the gate looked; clear the gate task",
        between="UPDATE staged_pulls SET id = DEFAULT",
    ),
]

SITE_KINDS = [
    Kind("sites", "a document that is cut off", instead(sites=b'[{"name": "T2_DE", '), "pull", "sites.json"),
    Kind("sites", "a site without status", lambda d: d.row("sites").pop("status"), "pull", "status"),
    Kind(
        "sites",
        "a status that nobody defined",
        changed(sites={"status": "shiny"}),
        "`site_known_values`, `ready_lost`",
        "status=shiny",
        limits={"sites": {"ready_lost_tolerated": 0, "max_ready_lost_fraction": 0}},
    ),
    Kind(
        "sites",
        "a kind of storage that nobody defined",
        changed(sites={"storage_type": "dvd"}),
        "`site_known_values`",
        "in 1 site: T1_US_Disk storage_type=dvd",
    ),
    Kind("sites", "a name with a blank", added(sites=[site("T2 NEW")]), "`site_name`", "in 1 site: T2 NEW"),
    Kind("sites", "a site twice", added(sites=[site("T2_DE", "waitroom")]), "`site_once`", "in 1 site: T2_DE times=2"),
    Kind("sites", "no site at all", instead(sites=b"[]"), "`sites_listed`, `ready_lost`", "no site is listed"),
    Kind(
        "sites",
        "most sites are called bad",
        sites_with("morgue", 3),
        "`ready_lost`",
        "more than 30% of the ready sites are not ready any more, in 3 sites",
    ),
    Kind(
        "sites",
        "an endpoint without prefix",
        endpoints({"protocol": "davs", "prefix": ""}),
        "`endpoint_fields`",
        "in 1 endpoint: T1_US_Disk protocol=davs",
    ),
    Kind(
        "sites",
        "two endpoints of one protocol",
        endpoints(DAVS, {**DAVS, "prefix": "davs://other/"}),
        "`endpoint_once`",
        "in 2 endpoints: T1_US_Disk protocol=davs",
    ),
    Kind(
        "sites",
        "a mapping that is no regular expression",
        endpoints({**DAVS, "mapping": [[["(", "x"]]]}),
        "`endpoint_mapping`",
        "in 1 endpoint: T1_US_Disk protocol=davs",
    ),
    Kind(
        "sites",
        "a prefix of another scheme than its protocol's",
        endpoints({**DAVS, "prefix": "http://host/"}),
        "`endpoint_address`",
        "in 1 endpoint: T1_US_Disk protocol=davs why=the prefix 'http://host/': it does not begin with davs://",
    ),
    Kind(
        "sites",
        "a prefix with a password",
        endpoints({**DAVS, "prefix": "davs://me:pw@host/"}),
        "`endpoint_address`",
        "in 1 endpoint: T1_US_Disk protocol=davs why=the prefix 'davs://…@host/': it has a user or password in it",
    ),
]

ACCESS_KINDS = [
    Kind(
        "accesses",
        "a line that is no JSON",
        instead(accesses=b"<html>502 Bad Gateway</html>\n"),
        "pull",
        "line 1: not JSON",
    ),
    Kind(
        "accesses",
        "a number in words",
        changed(accesses={"num_accesses": "many"}),
        "pull",
        "num_accesses is 'many', expected a whole number",
    ),
    Kind(
        "accesses",
        "a record without site",
        changed(accesses={"site": None}),
        "`access_fields`",
        f"in 1 record: {MUONS} lfn=None site=None",
    ),
    Kind(
        "accesses",
        "a record of a dataset and of a file",
        changed(accesses={"lfn": LFN}),
        "`access_fields`",
        f"in 1 record: {MUONS} {LFN} T2_DE",
        by_plugin=True,
    ),
    Kind(
        "accesses",
        "a negative number",
        added(accesses=[access(dataset=JETS, num_accesses=-4)]),
        "`access_count`",
        f"not above zero in 1 record: {JETS} T2_DE day=2026-02-20 num_accesses=-4",
    ),
    Kind(
        "accesses",
        "an absurd number",
        added(accesses=[access(dataset=JETS, num_accesses=10**9)]),
        "`access_absurd`, `accesses_surged`",
        "num_accesses is above 10,000,000 in 1 record",
    ),
    Kind(
        "accesses",
        "another day",
        added(accesses=[access(dataset=JETS, day="2026-02-21")]),
        "`access_day`",
        f"the day is another one in 1 record: {JETS} T2_DE day=2026-02-21",
    ),
    Kind(
        "accesses",
        "a hundredth of the usual",
        changed(accesses={"num_accesses": 20}),
        "`accesses_dropped`",
        "fewer accesses than 10% of the median of the days before in 1 day: told=20 typical=2000 num_days_before=4",
    ),
    Kind(
        "accesses",
        "a hundred times the usual",
        changed(accesses={"num_accesses": 200_000}),
        "`accesses_surged`",
        "more accesses than 20 times the median",
    ),
    Kind(
        "accesses",
        "an empty day after full ones",
        without_lines("accesses"),
        "`accesses_dropped`",
        "told=0 typical=2000",
    ),
]

DEMAND_KINDS = [
    Kind("demand", "a line that is cut off", instead(demand=b'{"dataset": '), "pull", "line 1: not JSON"),
    Kind(
        "demand",
        "a record without dataset",
        changed(demand={"dataset": None}),
        "`demand_fields`",
        "a field is missing in 1 record: dataset=None",
    ),
    Kind(
        "demand",
        "no jobs",
        added(demand=[demand(dataset=JETS, num_jobs=0)]),
        "`demand_count`",
        f"not above zero in 1 record: {JETS} day=2026-02-20 num_jobs=0",
    ),
    Kind(
        "demand",
        "an absurd number of jobs",
        added(demand=[demand(dataset=JETS, num_jobs=10**8)]),
        "`demand_absurd`, `demand_surged`",
        "num_jobs is above 10,000,000 in 1 record",
    ),
    Kind(
        "demand",
        "another day",
        added(demand=[demand(dataset=JETS, day="2026-02-19")]),
        "`demand_day`",
        "the day is another one in 1 record",
    ),
    Kind(
        "demand",
        "a hundred times the usual",
        changed(demand={"num_jobs": 200_000}),
        "`demand_surged`",
        "more jobs than 20 times the median of the days before in 1 day: told=200000 typical=2000 num_days_before=4",
    ),
]

BAD = [*METADATA, *SITE_KINDS, *ACCESS_KINDS, *DEMAND_KINDS]

UNICODE = "/Müonen/Lauf2026–v1/ÆØÅ"

BLOCKS = (
    "SELECT b.name || ' ' || b.is_open || ' ' || b.num_files FROM blocks AS b JOIN datasets AS d ON d.id = dataset_id"
)
FILE = (
    "SELECT b.name || ' ' || f.size_bytes || ' ' || coalesce(f.adler32, 'none')"
    " FROM files AS f JOIN blocks AS b ON b.id = block_id"
)
VANISHED = "SELECT kind || ' ' || name FROM vanished ORDER BY 1"
NAMES = "SELECT name FROM datasets ORDER BY id DESC"
OF_DAY = (
    "SELECT d.name || ' ' || n.{number} FROM {table} AS n JOIN datasets AS d ON d.id = n.dataset_id"
    " WHERE n.day = '2026-02-20' ORDER BY 1"
)
ACCESSES = OF_DAY.format(number="num_accesses", table="accesses_daily")
JOBS = OF_DAY.format(number="num_jobs", table="demand_daily")
UNKNOWN = "SELECT dataset || ' ' || number FROM unknown_use WHERE day = '2026-02-20' AND kind = "
SITE = "SELECT s.name || ' ' || s.status FROM sites AS s"

GOOD = [
    Kind("metadata", "the same as before", lambda _drop: None),
    Kind(
        "metadata",
        "a name that is not ASCII",
        added(
            datasets=[dataset(UNICODE)],
            blocks=[block("b€", UNICODE)],
            files=[file("/store/data/größe.root", UNICODE, "b€"), file("/store/data/größe 2.root", UNICODE, "b€")],
        ),
        query=f"{BLOCKS} WHERE d.name = '{UNICODE}'",
        found=("b€ false 2",),
    ),
    Kind(
        "metadata",
        "a dataset without blocks",
        added(datasets=[dataset(NEW)]),
        query=f"SELECT status || ' ' || num_blocks FROM datasets WHERE name = '{NEW}'",
        found=("valid 0",),
    ),
    Kind(
        "metadata",
        "a dataset with a name that is no path",
        added(datasets=[dataset("user.alice:scan-17")]),
        query=f"{NAMES} LIMIT 1",
        found=("user.alice:scan-17",),
    ),
    Kind(
        "metadata",
        "an open block without files",
        added(blocks=[block("b3", is_open=True, size_bytes=0, num_files=0)]),
        query=f"{BLOCKS} WHERE d.name = '{MUONS}' ORDER BY 1",
        found=("b1 false 2", "b2 false 2", "b3 true 0"),
    ),
    Kind(
        "metadata",
        "an open block whose files are still to come",
        added(blocks=[block("b3", is_open=True, size_bytes=5 * 10**12, num_files=1000)]),
        query=f"{BLOCKS} WHERE b.name = 'b3'",
        found=("b3 true 0",),
    ),
    Kind(
        "metadata",
        "a closed block that lists a file less than it says",
        added(blocks=[block("b3")], files=[file("/store/data/one.root", in_block="b3")]),
        query=f"{BLOCKS} WHERE b.name = 'b3'",
        found=("b3 false 1",),
    ),
    Kind(
        "metadata",
        "one known file is not told any more",
        lambda drop: drop.tables["files"].pop(0),
        query=VANISHED,
        found=(f"file {LFN}",),
    ),
    Kind(
        "metadata",
        "a file of no bytes",
        added(files=[file("/store/data/empty.root", size_bytes=0)]),
        query=f"{FILE} WHERE lfn = '/store/data/empty.root'",
        found=("b1 0 0000000a",),
    ),
    Kind(
        "metadata",
        "a file without checksum",
        added(files=[file("/store/data/unsummed.root", adler32=None)]),
        query=f"{FILE} WHERE lfn = '/store/data/unsummed.root'",
        found=("b1 100 none",),
    ),
    Kind(
        "metadata",
        "a closed block that is open again",
        changed(blocks={"is_open": True, "last_update_at": "2026-01-02T00:00:00Z"}),
        query=f"{BLOCKS} WHERE d.name = '{MUONS}' ORDER BY 1",
        found=("b1 true 2", "b2 false 2"),
    ),
    Kind(
        "metadata",
        "an invalid file that leaves its block as it is",
        changed(files={"is_valid": False}),
        query=VANISHED,
        found=(f"file {LFN}",),
    ),
    Kind(
        "metadata",
        "one dataset becomes invalid",
        statuses("invalid", 1),
        query=f"SELECT status FROM datasets WHERE name = '{MUONS}'",
        found=("invalid",),
    ),
    Kind(
        "metadata",
        "one dataset becomes deleted, and tells of no blocks any more",
        both(
            statuses("deleted", 1),
            lambda d: [d.tables[t].pop(0) for t in ("blocks", "blocks", "files", "files", "files", "files")],
        ),
        query=f"SELECT status || ' ' || num_blocks || ' ' || num_files FROM datasets WHERE name = '{MUONS}'",
        found=("deleted 2 4",),
    ),
    Kind(
        "metadata",
        "twice as many datasets",
        added(datasets=[dataset(f"/New{n}/Run2026B-v1/AOD") for n in range(4)]),
        query=f"{NAMES} LIMIT 4",
        found=tuple(f"/New{n}/Run2026B-v1/AOD" for n in (3, 2, 1, 0)),
    ),
    Kind(
        "metadata",
        "names that mean something to SQL",
        added(datasets=[dataset("/Robert');/DROP-v1/TABLE--"), dataset("/{batch}/:x-%s/$1")]),
        query='SELECT name FROM datasets ORDER BY name COLLATE "C" DESC LIMIT 1',
        found=("/{batch}/:x-%s/$1",),
    ),
    Kind(
        "metadata",
        "a time with another zone",
        changed(datasets={"last_update_at": "2026-01-02T09:00:00+09:00"}),
        query=f"SELECT (last_update_at AT TIME ZONE 'UTC')::text FROM datasets WHERE name = '{MUONS}'",
        found=("2026-01-02 00:00:00",),
    ),
    Kind(
        "sites",
        "one site of five is not ready",
        sites_with("waitroom", 1),
        query=f"{SITE} WHERE status <> 'ready'",
        found=("T1_US_Disk waitroom",),
    ),
    Kind(
        "sites",
        "a new site",
        added(sites=[site("T3_NEW", "unknown", endpoints=[])]),
        query=f"{SITE} WHERE name = 'T3_NEW'",
        found=("T3_NEW unknown",),
    ),
    Kind(
        "sites",
        "a tape site with a mapping",
        endpoints({**DAVS, "mapping": [[["/store/(.*)", r"/tape/\1"]]]}),
        query="SELECT prefix || mapping FROM site_endpoints WHERE mapping IS NOT NULL",
        found=(r'davs://host/[[["/store/(.*)", "/tape/\\1"]]]',),
    ),
    Kind("accesses", "the same as before", lambda _drop: None, query=ACCESSES, found=(f"{MUONS} 2000",)),
    Kind(
        "accesses",
        "a dataset that the inventory does not know",
        added(accesses=[access(dataset="/No/Such-v1/DATA", num_accesses=5)]),
        query=f"{UNKNOWN}'accesses'",
        found=("/No/Such-v1/DATA 5",),
    ),
    Kind(
        "accesses",
        "the same record twice",
        added(accesses=[access(num_accesses=3), access(num_accesses=3)]),
        query=ACCESSES,
        found=(f"{MUONS} 2006",),
    ),
    Kind(
        "accesses",
        "half of the usual",
        changed(accesses={"num_accesses": 1000}),
        query=ACCESSES,
        found=(f"{MUONS} 1000",),
    ),
    Kind(
        "accesses",
        "a file instead of a dataset",
        added(accesses=[{**access(num_accesses=7), "dataset": None, "lfn": LFN}]),
        by_plugin=True,
        query=ACCESSES,
        found=(f"{MUONS} 2007",),
    ),
    Kind("demand", "the same as before", lambda _drop: None, query=JOBS, found=(f"{MUONS} 2000",)),
    Kind(
        "demand",
        "no demand at all",
        without_lines("demand"),
        query="SELECT num_told::text FROM aggregated_days WHERE day = '2026-02-20' AND kind = 'demand'",
        found=("0",),
    ),
    Kind(
        "demand",
        "a dataset that the inventory does not know",
        added(demand=[demand(dataset="/No/Such-v1/DATA", num_jobs=5)]),
        query=f"{UNKNOWN}'demand'",
        found=("/No/Such-v1/DATA 5",),
    ),
]
