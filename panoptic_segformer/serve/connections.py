"""Connections that are closed unless a request arrives, and its answer is taken, in time."""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MAX_CONNECTIONS = 512
HEADER_SECONDS = 15.0
SEND_SECONDS = 15.0
SENT_BYTES = 65_536  # that a client takes at least in each such time, or else it holds its answer in memory for nothing


class Connection(H11Protocol):
    """A connection of HTTP/1.1 whose next request has to arrive in time, and that is closed if there are too many.

    By itself, uvicorn waits forever for the rest of a request's header, and for a client to take its answer.
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
        self._sending: asyncio.TimerHandle | None = None

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
        for timer in (self._deadline, self._sending):
            if timer:
                timer.cancel()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        if self._sending:
            self._sending.cancel()

    def _watch_sending(self) -> None:
        """Drop the rest of an answer once the client hardly takes it."""
        left = self.transport.get_write_buffer_size()

        def check() -> None:
            if left - self.transport.get_write_buffer_size() < SENT_BYTES:
                self.transport.abort()
            else:
                self._watch_sending()

        self._sending = self.loop.call_later(SEND_SECONDS, check)

    def _set_deadline(self) -> None:
        """Start the time when a request is awaited, and stop it when one has arrived."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy and self._deadline:
            self._deadline.cancel()
            self._deadline = None
        elif not busy and not self._deadline:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)
