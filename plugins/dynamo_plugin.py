"""What Dynamo adds to Airflow: its pages in the menu and on runs, links of tasks, and the API at /dynamo.

Airflow imports this file from its plugins folder.
"""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin
from dynamo_airflow.links import FtsJobsLink
from dynamo_airflow.pages import ICON, ROUTE, framed
from dynamo_web.mount import PREFIX, mounted


class DynamoPlugin(AirflowPlugin):
    """Extra links of our operators, our pages, and our app."""

    name = "dynamo"
    operator_extra_links = (FtsJobsLink(),)
    external_views: ClassVar = [
        {
            "name": "Dynamo",
            "href": framed("today"),
            "destination": "nav",
            "url_route": ROUTE,
            "icon": ICON,
            "nav_top_level": True,
        },
        {
            "name": "Dynamo",
            "href": framed("runs") + "?dag={DAG_ID}&run={RUN_ID}",  # Airflow's UI fills in what a URL can hold
            "destination": "dag_run",
            "url_route": "dynamo-run",
            "icon": ICON,
        },
    ]
    fastapi_apps: ClassVar = [{"app": mounted, "url_prefix": PREFIX, "name": "dynamo"}]
