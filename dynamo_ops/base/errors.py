"""Every error that Dynamo raises on purpose, grouped by what the reader does next.

DynamoError
├── SettingsError           fix the settings: file, key, reason
├── PolicyError             fix the policy text: file, line, column, what was expected
├── InventoryError          fix the record: source, dataset, value
│   ├── UnknownNameError    there is nothing of this name
│   └── SourceDataError     a source of metadata answered something that cannot be right
├── GateError               look at the data: a data-quality gate refused them, nothing was changed
├── PlanError               plan again: the plan is not in a state that allows this
│   └── UnknownPlanError    there is no such plan, or it knows nothing of what is asked for
├── ChangedError            look again: it is not as it was looked at
├── PausedError             wait, or resume: a person has stopped this
└── RemoteError             another service
    ├── RetryableRemoteError    wait: the same call may go through later
    │   └── ServiceIllError         wait: it answers, but not what it was asked; the data are not at fault
    └── PermanentRemoteError    give up: the same call will fail again
        └── CredentialError         renew or fix the credential, then retry by hand

The facts of a message (site, dataset, value, …) are attributes of the error too, in ``facts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DynamoError(Exception):
    """Base of all errors raised on purpose. ``facts`` holds the message's facts by name."""

    retryable = False
    next_step = "Read the message and the task's log."

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __getattr__(self, name: str) -> object:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in the configuration. ``key``: in texts that are no YAML, line and column (``3:14``);
    empty where it is the whole file. ``reason``: what is wrong, and what to do."""

    file: str
    key: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.file, self.key, self.reason)))


class SettingsError(DynamoError):
    """A setting is missing or wrong. Facts: ``file``, ``key``, ``reason``; of several faults, those of the first, and
    all in ``faults``."""

    next_step = "Mend the named setting, then clear the task."

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> SettingsError:
        """One error that says all ``faults``, one a line."""
        first = faults[0]
        return cls(
            "\n".join(map(str, faults)), file=first.file, key=first.key, reason=first.reason, faults=tuple(faults)
        )

    def all_faults(self) -> tuple[Fault, ...]:
        """Everything that it says is wrong."""
        faults = self.facts.get("faults")
        if isinstance(faults, tuple):
            return faults
        file, key = str(self.facts.get("file") or ""), str(self.facts.get("key") or "")
        return (Fault(file, key, self.message.removeprefix(f"{file}: ").removeprefix(f"{key}: ")),)


class PolicyError(DynamoError):
    """A policy text cannot be used. Facts: ``file``, ``line``, ``column`` (from 1)."""

    next_step = "Mend the policy text at the named line and column, then clear the task."


class InventoryError(DynamoError):
    """A record is refused by the inventory. Facts name the record and the value found."""

    next_step = "Mend the named record where it comes from, then clear the task."


class UnknownNameError(InventoryError):
    """A name, glob or id that is asked for means nothing. Facts: what kind of name it is, and the name."""

    next_step = "Look at the near names, or list what there is."


class SourceDataError(InventoryError):
    """A source answered something that cannot be right. Facts: ``source``, and ``dataset`` or ``url``."""


class GateError(DynamoError):
    """A data-quality gate refused the data; nothing was changed. Facts: ``gate``, ``subject``, ``failures``.

    ``page``: where Data Docs have the page of this judgement, null without one. No fact: it is another in each run.
    """

    page: str | None = None

    next_step = (
        "Look at the named examples. If the data are wrong, have their source mended and clear the failed "
        "pull; if they are right, widen the limit in gates.yaml. Nothing was changed."
    )


class PlanError(DynamoError):
    """A plan cannot be gated, approved or committed in its present state. Facts: ``plan_id``, ``state``."""

    next_step = "Look at the plan's state; let the next cycle make a new plan."


class UnknownPlanError(PlanError, UnknownNameError):
    """There is no plan of this number, or none that knows what is asked for. Facts: ``plan_id``, or what it was."""

    next_step = "`dynamo plan list` shows what there is."


class ChangedError(DynamoError):
    """What somebody decides about has changed since they looked at it. Facts: ``etag``, which it has now."""

    next_step = "Look at it again, and decide about what you see."


class PausedError(DynamoError):
    """A person has stopped acts of this kind; nothing was done. Facts: ``pause_id``."""

    next_step = "Wait until it is over, or resume it: dynamo pauses; dynamo resume."


class RemoteError(DynamoError):
    """Another service did not do what was asked. Facts: ``service``, ``url``, ``status``."""


class RetryableRemoteError(RemoteError):
    """The same call may go through later: time-out, 5xx, connection refused, throttled."""

    next_step = (
        "The service did not answer in time, through all tries. Check it, then clear the task: it goes on "
        "where it stopped."
    )

    retryable = True


class ServiceIllError(RetryableRemoteError):
    """A service answers, and not what it was asked for: an error of its database, a login page, a list that was cut.
    Nothing of the answer was used. (Of data that cannot be right: SourceDataError.)"""

    next_step = (
        "The service is ill, through all tries; the data are not at fault, and nothing was changed. Look at what it "
        "answered, tell its people, and clear the task when it is well again."
    )


class PermanentRemoteError(RemoteError):
    """The same call will fail again: 4xx, not found, refused."""

    next_step = "The service refused. Mend what its message names, then clear the task."


class CredentialError(PermanentRemoteError):
    """The credential is missing, expired or not allowed to do this."""

    next_step = "Renew the credential (proxy, certificate or token) of the named service, then clear the task."
