"""What all DAGs share: retries by class, keys of runs, intervals; the names of the assets; what the plugin declares."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote
from xml.etree.ElementTree import fromstring

import pytest

from dynamo_ops.base import errors

START, END, STARTED = (datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (1, 2, 3))


def classes(of: type[Exception]) -> list[type[Exception]]:
    return [of, *(each for child in of.__subclasses__() for each in classes(child))]


OF_TASKS = [kind for kind in classes(errors.DynamoError) if not kind.__module__.startswith("dynamo_ops.client.")]
"""What asks REST from afar is no task."""


@pytest.mark.parametrize("kind", OF_TASKS, ids=lambda kind: kind.__name__)
def test_our_errors_are_tried_again_only_where_that_may_help(airflow: None, kind: type[errors.DynamoError]) -> None:
    from airflow.sdk import RetryAction
    from dynamo_airflow.defaults import RETRY_POLICY

    decision = RETRY_POLICY.evaluate(kind("text"), 1, 5)
    assert decision.action == (RetryAction.DEFAULT if kind.retryable else RetryAction.FAIL)


def test_the_unforeseen_is_tried_again(airflow: None) -> None:
    from airflow.sdk import RetryAction
    from dynamo_airflow.defaults import RETRY_POLICY

    assert RETRY_POLICY.evaluate(MemoryError(), 1, 5).action == RetryAction.DEFAULT


def test_the_policy_survives_serialisation(airflow: None) -> None:
    from airflow.sdk import RetryAction
    from airflow.sdk.definitions.retry_policy import RetryRule
    from dynamo_airflow.defaults import RETRY_POLICY

    again = [RetryRule.deserialize(rule.serialize()) for rule in RETRY_POLICY.rules]
    error = errors.GateError("refused")
    assert next(rule.action for rule in again if rule.matches(error)) == RetryAction.FAIL


def test_retries_are_those_of_the_settings(configured: Path) -> None:
    from dynamo_airflow.defaults import task_defaults

    given = task_defaults()
    assert (given["retries"], given["retry_delay"], given["max_retry_delay"]) == (
        4,
        timedelta(seconds=7),
        timedelta(seconds=70),
    )


def context(**values: Any) -> dict[str, Any]:
    return {
        "dag": SimpleNamespace(dag_id="detox_physics"),
        "dag_run": SimpleNamespace(run_id="r1", start_date=STARTED),
        **values,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"data_interval_start": START, "data_interval_end": END}, (START, END), id="scheduled"),
        pytest.param({}, (STARTED, STARTED), id="by an asset: no interval"),
        pytest.param(
            {"data_interval_start": None, "data_interval_end": None}, (STARTED, STARTED), id="by hand: null interval"
        ),
    ],
)
def test_a_run_without_an_interval_ends_at_its_start(
    airflow: None, given: dict[str, Any], expected: tuple[datetime, datetime]
) -> None:
    from dynamo_airflow.defaults import interval

    assert interval(context(**given)) == expected


def test_the_key_of_a_run_is_that_of_all_its_tries(airflow: None) -> None:
    from dynamo_airflow.defaults import run_key

    assert run_key(context()) == "detox_physics/r1"


def test_assets_have_names_that_cannot_be_taken_for_each_other(airflow: None) -> None:
    from dynamo_airflow import assets

    named = [
        assets.METADATA,
        assets.POPULARITY,
        assets.SUBSCRIPTIONS,
        assets.REPLICAS,
        assets.detox_cycle("physics"),
        assets.detox_cycle("express"),
    ]
    assert [asset.uri for asset in named] == [
        "dynamo://inventory/metadata",
        "dynamo://popularity/",
        "dynamo://subscriptions/",
        "dynamo://inventory/replicas",
        "dynamo://detox/physics",
        "dynamo://detox/express",
    ]
    assert {asset.group for asset in named} == {"dynamo"}


def test_the_plugin_declares_the_links_of_our_operators(airflow: None) -> None:
    import dynamo_plugin
    from dynamo_airflow.links import FtsJobsLink

    assert dynamo_plugin.DynamoPlugin.name == "dynamo"
    assert [type(link) for link in dynamo_plugin.DynamoPlugin.operator_extra_links] == [FtsJobsLink]


def test_airflow_takes_our_entries_of_its_menu_and_of_runs(airflow: None) -> None:
    """As its API gives them to its UI, which fills in DAG and run, coded for a URL."""
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse
    from airflow.plugins_manager import _get_ui_plugins

    ours = [ExternalViewResponse(**view) for view in _get_ui_plugins()[0] if view["name"] == "Dynamo"]
    assert {view.destination: (view.url_route, view.href) for view in ours} == {
        "nav": ("dynamo", "/dynamo/ui/today"),
        "dag_run": ("dynamo-run", "/dynamo/ui/runs?dag={DAG_ID}&run={RUN_ID}"),
    }
    for view in ours:
        assert fromstring(unquote(str(view.icon).partition(",")[2])).tag.endswith("svg")
