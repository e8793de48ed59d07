"""The checks of every request, and the headers that tell browsers what to do with every answer."""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DRAIN_BYTES = 1 << 28
_DRAIN_SECONDS = 10.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


class Guard:
    """Refuses requests that a foreign web page makes a browser send, and adds headers for browsers to every answer.

    A page of another origin may send forms here, but its `Origin` says so. One whose name was made to lead to this
    machine has the right origin, but `Host` has the name.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = _Exchange(receive, send, "expect" in headers)
        await (self._refusal(headers) or self._app)(scope, exchange.receive, exchange.send)

    def _refusal(self, headers: Mapping[str, str]) -> JSONResponse | None:
        host = headers.get("host", "")
        if not self._known(host):
            found = f"the request is for the host {host!r:.60}, whose name this server does not have"
            return JSONResponse({"error": f"{found}; start it with --allow-host NAME"}, 421)
        if "origin" in headers and headers["origin"].partition("://")[2].lower() != host.lower():
            return JSONResponse({"error": "pages of other servers may not use this one; open its own page"}, 403)
        return None

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            return name in self._hosts or bool(ip_address(name))
        except ValueError:
            return False


class _Exchange:
    """One request and its answer. An upload that is refused early is read and dropped, or the client would not look."""

    def __init__(self, receive: Receive, send: Send, expects: bool) -> None:
        self._receive, self._send = receive, send
        self._more, self._expects = True, expects

    async def receive(self) -> Message:
        message = await self._receive()
        self._more, self._expects = message.get("more_body", False), False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", _NO_PAGE)
            if self._more and not await self._drained():
                headers["Connection"] = "close"
        await self._send(message)

    async def _drained(self) -> bool:
        dropped = 0
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._more and not self._expects and dropped < _DRAIN_BYTES:
                    dropped += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
        return not self._more
