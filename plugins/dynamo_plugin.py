"""What Dynamo adds to Airflow: links in its UI, and the API at /dynamo. Airflow imports this file from its plugins
folder."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin
from dynamo_airflow.links import FtsJobsLink
from dynamo_web.mount import PREFIX, mounted


class DynamoPlugin(AirflowPlugin):
    """Extra links of our operators, and our app."""

    name = "dynamo"
    operator_extra_links = (FtsJobsLink(),)
    external_views: ClassVar = [
        {"name": "Dynamo", "href": f"{PREFIX}/ui/today", "destination": "nav", "url_route": "dynamo"}
    ]
    fastapi_apps: ClassVar = [{"app": mounted, "url_prefix": PREFIX, "name": "dynamo"}]
