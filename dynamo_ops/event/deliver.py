"""Sending what waits: at least once, the events of an object in their order, and nobody held up by another's webhook.

A run may be killed anywhere and run again. Each subscription goes at its own pace, in a thread of its own for some
seconds; one that does not take what it is sent is left alone for a while, longer each time.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from smtplib import SMTPRecipientsRefused
from threading import Lock, Thread

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.event import queue
from dynamo_ops.event.address import Hosts
from dynamo_ops.event.fan_out import fan_out, give_up
from dynamo_ops.event.mail import Mail, mail_of
from dynamo_ops.event.queue import Destination, Outcome, Parcel
from dynamo_ops.event.settings import EventSettings, event_settings
from dynamo_ops.event.states import Channel
from dynamo_ops.event.webhook import RefusedError, Webhook

log = logging.getLogger(__name__)

SendMail = Callable[[Mail], object]
IN_A_ROW = 3
"""So many that are refused one after the other: others will be, too."""
TOO_SLOW = "it had not answered by the end of the run"


def deliver(database: Database, settings: Settings, send_mail: SendMail) -> dict[str, int]:
    """Give new events to subscriptions, and send what waits; how many were ``new``, ``delivered``, ``failed``,
    ``given_up``. What is not sent within the time of a run is left to the next.

    Raises RetryableRemoteError when the database is away. That somebody takes nothing is no failure of ours: their
    subscription says it, and the digest. Another run that is at it is left to it.
    """
    config = event_settings(settings)
    with alone(database, "event deliveries") as mine:
        if mine is None:
            log.info("another run is at it")
            return {}
        num_new = fan_out(database)
        num_given_up = give_up(database, config.give_up_after_days)
        run = _Run(database, config, Hosts.of(settings), time.monotonic() + config.run_s)
        run.send(queue.due(database), send_mail)
    counts = {"new": num_new, "delivered": run.counts["delivered"], "failed": run.counts["failed"]}
    return {**counts, "given_up": num_given_up}


@dataclass
class _Run:
    database: Database
    config: EventSettings
    hosts: Hosts
    until: float
    counts: Counter[str] = field(default_factory=Counter)
    troubles: list[DynamoError] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def send(self, destinations: list[Destination], send_mail: SendMail) -> None:
        """Webhooks by threads, mails by this one: the way to mail is not made for several. Threads that hang end with
        the process."""
        waiting: SimpleQueue[Destination] = SimpleQueue()
        webhooks = [to for to in destinations if to.channel is Channel.WEBHOOK]
        for to in webhooks:
            waiting.put(to)
        busy: dict[int, Destination] = {}
        threads = [
            Thread(target=self._call_all, args=(waiting, busy), daemon=True, name=f"webhooks {number}")
            for number in range(min(self.config.at_once, len(webhooks)))
        ]
        for thread in threads:
            thread.start()
        self._mail_all([to for to in destinations if to.channel is Channel.MAIL], send_mail)
        patience = self.until + 2 * self.config.timeout_s
        for thread in threads:
            thread.join(max(0.0, patience - time.monotonic()))
        with self._lock:
            hanging = list(busy.values())
        for to in hanging:
            log.warning("event subscription %d: %s", to.id, TOO_SLOW)
            queue.settle(self.database, to, (), self.config, TOO_SLOW)
        if self.troubles:
            raise self.troubles[0]

    def _call_all(self, waiting: SimpleQueue[Destination], busy: dict[int, Destination]) -> None:
        while time.monotonic() < self.until and not self.troubles:
            try:
                to = waiting.get_nowait()
            except Empty:
                return
            with self._lock:
                busy[to.id] = to
            try:
                self._call(to)
            except DynamoError as error:
                with self._lock:
                    self.troubles.append(error)
            except Exception as error:
                log.exception("event subscription %d", to.id)
                queue.settle(self.database, to, (), self.config, f"a fault of ours ({type(error).__name__})")
            finally:
                with self._lock:
                    del busy[to.id]

    def _call(self, to: Destination) -> None:
        """Send to one webhook, batch by batch, until nothing is due, it takes no more, or its time is over."""
        until = min(self.until, time.monotonic() + self.config.webhook_s)
        webhook = Webhook(to, self.hosts, self.config.timeout_s)
        try:
            error = None
            while error is None and time.monotonic() < until and (parcels := queue.take(self.database, to)):
                outcomes, error = _posted(webhook, parcels, until)
                queue.settle(self.database, to, outcomes, self.config, error)
                self._note(to, outcomes, error)
        finally:
            webhook.close()

    def _mail_all(self, destinations: list[Destination], send_mail: SendMail) -> None:
        """A server that is down takes none of the others either; one that refuses an address does."""
        for to in destinations:
            if time.monotonic() >= self.until:
                return
            parcels = queue.take(self.database, to)
            if not parcels:
                continue
            error, is_down = None, False
            try:
                send_mail(mail_of(to, parcels))
            except Exception as failure:
                is_down = not isinstance(failure, SMTPRecipientsRefused)
                error = f"the mail could not be sent ({type(failure).__name__})"
                log.warning("event subscription %d: %s: %s", to.id, error, failure)
            outcomes = [Outcome(parcel, is_sent=True, error=error) for parcel in parcels]
            queue.settle(self.database, to, outcomes, self.config, error)
            self._note(to, outcomes, error)
            if is_down:
                return

    def _note(self, to: Destination, outcomes: list[Outcome], error: str | None) -> None:
        failed = sum(outcome.error is not None for outcome in outcomes)
        taken = sum(outcome.is_sent for outcome in outcomes) - failed
        with self._lock:
            self.counts += Counter(delivered=taken, failed=failed)
        if error is not None:
            log.info("event subscription %d takes no more for now: %s", to.id, error)


def _posted(webhook: Webhook, parcels: list[Parcel], until: float) -> tuple[list[Outcome], str | None]:
    """What came of each, those that were not sent any more among them; and why the webhook is left alone."""
    outcomes = [Outcome(parcel) for parcel in parcels]
    in_a_row = 0
    for outcome in outcomes:
        if time.monotonic() >= until:
            break
        outcome.is_sent = True
        try:
            webhook.post(outcome.parcel)
        except RefusedError as refused:
            outcome.error = refused.words
            in_a_row += 1
            if refused.is_about_all or in_a_row >= IN_A_ROW:
                return outcomes, refused.words
        else:
            in_a_row = 0
    return outcomes, None
