"""What Dynamo adds to Airflow's UI. Airflow imports this file from its plugins folder."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from dynamo_airflow.links import FtsJobsLink


class DynamoPlugin(AirflowPlugin):
    """Extra links of our operators."""

    name = "dynamo"
    operator_extra_links = (FtsJobsLink(),)
