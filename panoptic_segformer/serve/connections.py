"""Connections that are closed unless a request arrives in time."""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MAX_CONNECTIONS = 512
HEADER_SECONDS = 15.0


class Connection(H11Protocol):
    """A connection of HTTP/1.1 whose next request has to arrive in time, and that is closed if there are too many.

    By itself, uvicorn waits for the rest of a request's header forever.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.close()
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        if self._deadline:
            self._deadline.cancel()

    def _set_deadline(self) -> None:
        """Start the time when a request is awaited, and stop it when one has arrived."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and self._deadline:
            self._deadline.cancel()
            self._deadline = None
        elif not busy and not self._deadline:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)
