"""FTS's client of the WLCG Tape REST API at the storages."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from simgrid.fts.copier.dav import StorageClient, StorageError
from simgrid.fts.copier.xroot import RootTape, is_root


def TapeClient(client: StorageClient, url: str) -> TapeRestClient | RootTape:
    """The tape behind the storage that `url` is on, by the API of its protocol."""
    return RootTape(url) if is_root(url) else TapeRestClient(client, url)


class TapeRestClient:
    """The tape endpoint of the storage that `url` is on. Raises StorageError [93] where there is none."""

    label = "[Tape REST API] "

    def __init__(self, client: StorageClient, url: str) -> None:
        self._client = client
        parts = urlsplit(url)
        try:
            found = client.json("GET", f"https://{parts.netloc}/.well-known/wlcg-tape-rest-api")
        except StorageError as error:
            if error.status is None:
                raise
            raise StorageError(93, "Protocol not supported: the storage has no tape endpoint", error.status) from error
        self._base = str(found["endpoints"][0]["uri"])

    def stage(self, urls: list[str]) -> str:
        """The id of a staging request for these files."""
        files = [{"path": urlsplit(url).path} for url in urls]
        return str(self._client.json("POST", f"{self._base}/stage", {"files": files})["requestId"])

    def progress(self, identifier: str, urls: list[str]) -> dict[str, dict[str, Any]]:  # noqa: ARG002  root:// has to name them
        """State of each file of the request, `urls` among them, by URL path."""
        document = self._client.json("GET", f"{self._base}/stage/{identifier}")
        return {file["path"]: file for file in document["files"]}

    def release(self, identifier: str, urls: list[str]) -> None:
        self._client.json("POST", f"{self._base}/release/{identifier}", {"paths": [urlsplit(u).path for u in urls]})

    def cancel(self, identifier: str, urls: list[str]) -> None:
        self._client.json(
            "POST", f"{self._base}/stage/{identifier}/cancel", {"paths": [urlsplit(u).path for u in urls]}
        )

    def locality(self, url: str) -> str:
        answer = self._client.json("POST", f"{self._base}/archiveinfo", {"paths": [urlsplit(url).path]})
        return cast(str, answer[0]["locality"])
