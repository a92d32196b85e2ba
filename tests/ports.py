"""Ports for servers that must be told theirs: below those that the system gives to whoever asks for any, so that no
connection of another test takes one between the look and the start."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

BELOW_EPHEMERAL = range(12_000, 32_000)


def free_ports(number: int = 1) -> int:
    """The first of so many ports in a row at which nobody listens, at any address of this machine."""
    for _ in range(200):
        first = random.choice(BELOW_EPHEMERAL)
        with suppress(OSError), ExitStack() as probes:
            for port in range(first, first + number):
                probes.enter_context(socket.socket()).bind(("", port))
            return first
    raise AssertionError(f"no {number} free ports in a row")
