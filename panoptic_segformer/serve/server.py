"""Starting the server, and stopping it without losing answers in progress."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import numpy as np
import uvicorn
from fastapi import FastAPI

from panoptic_segformer.images import NamedImage
from panoptic_segformer.model import Model
from panoptic_segformer.serve.app import make_app
from panoptic_segformer.serve.connections import SEND_SECONDS, Connection
from panoptic_segformer.serve.limits import Limits


class _Server(uvicorn.Server):
    """Ends when a signal asks for it, once the answers that are being made are sent; a second signal does not wait."""

    received: signal.Signals | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _stop(self, number: signal.Signals) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True
        self.received = self.received or number


@dataclass(frozen=True)
class Address:
    """Address to listen at, and other names by which clients reach it."""

    host: str
    port: int
    names: tuple[str, ...] = ()


def serve(at: Address, limits: Limits, load: Callable[[], Model]) -> None:
    """Load a model, if the address is free, and serve it until a signal ends the process: with 0, or 130 on Ctrl-C.

    Raises:
        ValueError: the address is taken or not of this machine, or the weights cannot be used.
    """
    with bound(at.host, at.port) as listening:
        model = load()
        # The first image takes longest, and what the network cannot do is said now instead of to clients.
        model.find(NamedImage("a gray image", np.full((64, 64, 3), 128, np.uint8)))
        server = _Server(configured(make_app(model, limits, (at.host, *at.names)), limits))
        host = f"[{at.host}]" if ":" in at.host else at.host
        address = f"http://{host}:{listening.getsockname()[1]}"
        print(f"serving {model.source} ({len(model.categories)} categories) at {address}; Ctrl-C ends it", flush=True)
        asyncio.run(server.serve([listening]))
    number = server.received or signal.SIGTERM
    print(f"ended by {number.name}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(130 if number == signal.SIGINT else 0)  # a network may run for a client that hung up


def configured(app: FastAPI, limits: Limits) -> uvicorn.Config:
    """Return the settings of uvicorn. At its end, the server waits as long as the last request may take."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=ceil(limits.upload_seconds + limits.seconds + SEND_SECONDS),
    )


def bound(host: str, port: int) -> socket.socket:
    """Listen at an address. Raises `ValueError` if it is taken, or not of this machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "is in use, perhaps by another server; give another one by --port, or 0 for any that is free"
            raise ValueError(f"port {port} of {host} {hint}") from None
        raise ValueError(f"cannot listen at {host}, port {port}: {error.strerror}; give other ones") from None
    # Connections inherit it. Without it, an answer's second packet waits 40 ms for the receipt of the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
