"""What a person has stopped is skipped, not failed: the run shows it, and nobody is alerted."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowSkipException

from dynamo_ops.base.errors import PausedError

P, R = ParamSpec("P"), TypeVar("R")


def skipped_when_stopped(act: Callable[P, R]) -> Callable[P, R]:
    """For the function of a task that acts, below ``@task``: where a pause stops it the task is skipped and says so."""

    @wraps(act)
    def acts_or_is_skipped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return act(*args, **kwargs)
        except PausedError as pause:
            raise AirflowSkipException(pause.message) from pause

    return acts_or_is_skipped
