"""The ways to people: mail by Airflow's connection ``smtp_default``, chats by webhooks. One that is down hides none of
the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from dynamo_ops.base.settings import settings

if TYPE_CHECKING:
    from dynamo_ops.alerts.message import Message
    from dynamo_ops.database.connection import Database
    from dynamo_ops.event.mail import Mail

log = logging.getLogger(__name__)
HEADERS = {"Auto-Submitted": "auto-generated"}
"""So that no out-of-office note comes back."""


@dataclass
class Delivery:
    """What came of a message: the channels that took it, and what was wrong with the others."""

    delivered: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def attempt(self, name: str, send: Callable[[], object]) -> None:
        """Send by one channel; whatever goes wrong there is noted and logged, and stays there."""
        try:
            send()
        except Exception as error:
            self.failed(name, error)
        else:
            self.delivered.append(name)

    def failed(self, name: str, error: Exception) -> None:
        """Note and log what was wrong with a channel."""
        self.troubles.append(f"{name}: {type(error).__name__}: {error}")
        log.error("a message could not be sent by %s: %s: %s", name, type(error).__name__, error)

    def __str__(self) -> str:
        sent = f"sent by {', '.join(self.delivered)}" if self.delivered else "sent to nobody"
        return "; ".join([sent, *self.troubles])


def is_anybody_named() -> bool:
    """Whether the settings name recipients of mail or a webhook."""
    return bool(settings().mail.recipients or settings().alerts.webhooks)


def send(message: Message) -> Delivery:
    """Send to all that the settings name. Raises nothing."""
    delivery = Delivery()
    _post(message, delivery)
    if settings().mail.recipients:
        delivery.attempt("mail", partial(_mail, message))
    return delivery


async def send_from_triggerer(message: Message) -> Delivery:
    """``send`` without holding up the event loop: the mail by the hook's own async calls, which are those that may look
    up a connection there."""
    delivery = Delivery()
    await asyncio.to_thread(_post, message, delivery)
    if settings().mail.recipients:
        try:
            from airflow.providers.smtp.hooks.smtp import SmtpHook

            async with SmtpHook() as hook:
                await hook.asend_email_smtp(**_envelope(message))
        except Exception as error:
            delivery.failed("mail", error)
        else:
            delivery.delivered.append("mail")
    return delivery


def send_to_subscriber(mail: Mail) -> None:
    """A mail to somebody who has asked for events. Raises what the hook does."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook() as hook:
        hook.send_email_smtp(
            to=mail.to,
            from_email=settings().mail.sender,
            subject=mail.subject,
            html_content=mail.html,
            custom_headers=HEADERS,
        )


def alert_database() -> Database:
    """The inventory's database, for alerts: when it is away that is found out in seconds, not in minutes."""
    from sqlalchemy.engine import make_url

    from dynamo_ops.database.connect import connect
    from dynamo_ops.database.connection import Database

    url = make_url(connect(settings()).url)
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": "10"})
    return Database(url.render_as_string(hide_password=False))


def _post(message: Message, delivery: Delivery) -> None:
    from dynamo_ops.alerts.webhook import host, post

    for webhook in settings().alerts.webhooks:
        delivery.attempt(f"webhook {host(webhook)}", partial(post, webhook, message.text))


def _mail(message: Message) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook() as hook:
        hook.send_email_smtp(**_envelope(message))


def _envelope(message: Message) -> dict[str, Any]:
    mail = settings().mail
    return {
        "to": mail.recipients,
        "from_email": mail.sender,
        "subject": message.subject,
        "html_content": message.html,
        "custom_headers": HEADERS,
    }
