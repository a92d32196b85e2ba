"""Asks a DBS through CMS's own client and prints what it asked and what it made of the answers, as JSON.

Run by test_dbs3_client.py where ``dbs3-client`` is installed, outside of our environment (see there):
``python dbs3_client.py ENDPOINTS.json DATASET``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(endpoints: dict[str, Any], dataset: str) -> list[dict[str, Any]]:
    """One entry a call: the client's method, its arguments, what went over the wire, and the rows."""
    os.environ.setdefault("USER", "nobody")
    os.environ["X509_CERT_DIR"] = str(Path(endpoints["ca"]).parent)
    from dbs.apis.dbsClient import DbsApi

    found: list[dict[str, Any]] = []
    for accept in ("application/json", "application/ndjson"):
        api = DbsApi(
            url=endpoints["dbs"],
            key=endpoints["user_key"],
            cert=endpoints["user_cert"],
            ca_info=endpoints["ca"],
            accept=accept,
        )
        asked: dict[str, Any] = {}
        get = api.rest_api.get

        def logged(
            url: str, name: str, params: Any, data: Any, headers: Any, get: Any = get, asked: Any = asked
        ) -> Any:
            asked.update(api=name, params={key: str(value) for key, value in params.items()}, accept=headers["Accept"])
            return get(url, name, params, data, headers)

        api.rest_api.get = logged
        for method, arguments in calls(dataset):
            rows = list(getattr(api, method)(**arguments))
            found.append({"method": method, **asked, "rows": rows})
    return found


def calls(dataset: str) -> list[tuple[str, dict[str, Any]]]:
    """What our DbsSource asks, in the client's words."""
    everything = {"dataset": "/*/*/*", "dataset_access_type": "*"}
    return [
        ("listDatasets", {**everything, "detail": 1, "min_ldate": 0, "max_ldate": 4102444800}),
        ("listDatasets", everything),
        ("listBlocks", {"dataset": dataset, "detail": 1}),
        ("listFiles", {"dataset": dataset, "detail": 1}),
        ("listFiles", {"dataset": dataset, "detail": 1, "validFileOnly": 1}),
    ]


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])))
