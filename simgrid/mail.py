"""An SMTP sink: every mail becomes one .eml file, named so that they sort by arrival."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from simgrid.http import PortInUseError


class MailSink:
    """Listens from construction on. `port` is the one in use, also when 0 was asked."""

    def __init__(self, directory: Path, host: str, port: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.host = host
        self._numbers = itertools.count(len(list(directory.glob("*.eml"))) + 1)
        self._loop = asyncio.new_event_loop()
        try:
            self._server = self._loop.run_until_complete(
                self._loop.create_server(lambda: SMTP(self, hostname="localhost", loop=self._loop), host, port)
            )
        except OSError as error:
            self._loop.close()
            raise PortInUseError(
                f"cannot listen on {host} port {port} ({error.strerror}); choose another with --port-base"
            ) from error
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="mail")
        self._thread.start()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002
        content: Any = envelope.content
        name = f"{next(self._numbers):06d}.eml"
        header = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\r\n"
        temporary = self.directory / f".{name}"
        temporary.write_bytes(header.encode() + (content if isinstance(content, bytes) else content.encode()))
        os.replace(temporary, self.directory / name)
        return "250 OK"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
