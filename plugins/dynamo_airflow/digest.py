"""The daily digest on its way to people: once a day, however often its task runs."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import date, datetime

from dynamo_airflow.channels import send
from dynamo_airflow.defaults import database
from dynamo_airflow.pages import OF_SECTIONS, address_of
from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.base.settings import settings
from dynamo_ops.base.times import time_text

log = logging.getLogger(__name__)
DAG_ID = "daily_digest"


def send_digest(until: datetime, *, again: bool) -> str:
    """Send the digest of the 24 hours before ``until`` to all that the settings name, and keep its text.

    A day's digest that went out is not sent another time, unless ``again``. A task that was killed between sending and
    noting sends it twice. Returns what came of it; RetryableRemoteError when no channel took it.
    """
    from dynamo_ops.alerts.alert import Alert, claim, release, take_over, told, told_at
    from dynamo_ops.alerts.digest import read_digest
    from dynamo_ops.alerts.digest_text import alerts_shown, digest_message

    db = database()
    day = Alert("digest", DAG_ID, None, "Digest", "", f"{until:%Y-%m-%d}")
    sent_at = told_at(db, day)
    if sent_at is not None and not again:
        return f"the digest of {until:%Y-%m-%d} was sent at {time_text(sent_at)} already"
    digest = read_digest(db, settings(), until)
    message = digest_message(digest, _pages(digest.since.date()))
    # One run at a time (max_active_runs): a claim of another process is one that died, and waits for nobody.
    claimed = claim(db, replace(day, message=message.text), repeat_after_h=0, claim_minutes=0)
    delivery = send(message)
    if not delivery.delivered:
        release(db, claimed)
        raise RetryableRemoteError(f"the digest of {until:%Y-%m-%d} was {delivery}", service="alerts")
    told(db, claimed)
    # Those for which there was no line stay untold, and are the first of the next digest.
    if number := take_over(db, alerts_shown(digest, in_mail="mail" in delivery.delivered)):
        log.info("%d failures that nobody had been told of are told by the digest", number)
    return str(delivery)


def _pages(since: date) -> dict[str, str]:
    """Addresses of pages, by section; empty where it is not known under which address people reach them."""
    from dynamo_ops.alerts.digest_text import WHOLE

    pages = {key: re.split("[?#]", page)[0] for key, page in OF_SECTIONS.items()}  # a section tells of more than faults
    addresses = {key: address_of(page, since=f"{since}" if page == "gates" else "") for key, page in pages.items()}
    return {key: address for key, address in {WHOLE: address_of("today"), **addresses}.items() if address}
