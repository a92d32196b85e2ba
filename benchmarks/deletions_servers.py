"""Servers for ``benchmarks.deletions``: each protocol's, in a process of its own, that counts what it is asked.

    python -m benchmarks.deletions_servers davs FILE_OF_LFNS

The files are made first. One line says where they are; when a line or the end comes in, another says how many requests
were seen since, by kind.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

CONTENT = b"1234567890"
Place = dict[str, Any]
Counted = tuple[Place, Callable[[], dict[str, int]]]


def main() -> None:
    """Serve until told to end."""
    protocol, lfns = sys.argv[1], Path(sys.argv[2]).read_text().splitlines()
    with SERVED[protocol](lfns) as (place, counts):
        print(json.dumps({"protocol": protocol} | place), flush=True)
        sys.stdin.readline()
        print(json.dumps({"requests": counts()}), flush=True)


@contextmanager
def webdav(lfns: Sequence[str]) -> Iterator[Counted]:
    """A site of the pocket grid, over TLS."""
    from simgrid.faults import Faults
    from simgrid.http import Request, Response, Server
    from simgrid.scenario import parse_scenario
    from simgrid.storage import Storage
    from simgrid.tls import make_credentials
    from simgrid.webdav import Site

    seen: Counter[str] = Counter()

    class CountingSite(Site):
        def handle(self, request: Request) -> Response:
            seen[request.method] += 1
            return super().handle(request)

    with tempfile.TemporaryDirectory(prefix="dynamo-bench-") as folder:
        put_below(Path(folder) / "site", lfns)
        credentials = make_credentials(Path(folder) / "tls", "/DC=test/O=Pocket/CN=Data Manager", ["127.0.0.1"])
        scenario = parse_scenario({"name": "bench", "sites": [{"name": "T2_1"}]})
        storage = Storage(Path(folder) / "site", Path(folder) / "uploads")
        faults = Faults(scenario.faults, ["T2_1"], 1)
        server = Server(CountingSite("T2_1", "", storage, None, faults), "127.0.0.1", 0, credentials.server_context())
        server.start()
        options = {
            "ca": str(credentials.ca),
            "cert": str(credentials.user_cert),
            "key": str(credentials.user_key),
        }
        yield {"prefix": f"davs://127.0.0.1:{server.port}", "options": options}, lambda: dict(seen)
        server.close()


@contextmanager
def s3(lfns: Sequence[str]) -> Iterator[Counted]:
    """A bucket of moto's server."""
    import boto3
    import werkzeug.serving
    from moto.server import ThreadedMotoServer

    seen: Counter[str] = Counter()

    def count(handler: Any, *_: Any) -> None:
        seen[handler.command] += 1

    werkzeug.serving.WSGIRequestHandler.log_request = count  # type: ignore[method-assign]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **keys)
    client.create_bucket(Bucket="bucket")
    for lfn in lfns:
        client.put_object(Bucket="bucket", Key=lfn.lstrip("/"), Body=CONTENT)
    more = {"s3": {"endpoint_url": url, "key": "key", "secret": "secret", "region": "us-east-1"}}
    seen.clear()
    yield {"prefix": "s3://bucket", "options": {"more": more}}, lambda: dict(seen)
    server.stop()


@contextmanager
def xrootd(lfns: Sequence[str]) -> Iterator[Counted]:
    """A real XRootD server, which counts by itself."""
    from tests.xrootd.servers import running_servers

    with running_servers({"T2_1": None}) as servers:
        (server,) = servers.values()
        put_below(server.root, lfns)
        server.own()
        url = server.prefix("root")
        before = xrootd_counts(url)
        options = {"ca": str(server.credentials.ca)}
        yield {"prefix": url, "options": options}, lambda: dict(xrootd_counts(url) - before)


def xrootd_counts(url: str) -> Counter[str]:
    """What the server says of its requests. ``misc``: rm, and stat, which the server counts twice. The queries for
    these figures are one more."""
    from XRootD import client
    from XRootD.client.flags import QueryCode

    status, answer = client.FileSystem(url).query(QueryCode.STATS, "a")
    assert status.ok, status.message
    document = ElementTree.fromstring(bytes(answer).decode().strip("\x00 \n"))
    (operations,) = document.findall("stats[@id='xrootd']/ops")
    return Counter({each.tag: int(each.text or 0) for each in operations if (each.text or "").isdigit()})


def put_below(root: Path, lfns: Sequence[str]) -> None:
    """A small file for each LFN."""
    for lfn in lfns:
        path = root / lfn.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)


SERVED: dict[str, Callable[[Sequence[str]], AbstractContextManager[Counted]]] = {
    "davs": webdav,
    "s3": s3,
    "root": xrootd,
}

if __name__ == "__main__":
    main()
