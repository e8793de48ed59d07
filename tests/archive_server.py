"""An HTTP server on the loopback interface that serves the files of a folder, and misbehaves on request."""

import hashlib
import re
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import ClassVar

from tests.loopback_server import LoopbackHandler, LoopbackServer


@dataclass(frozen=True)
class Answer:
    """The answer to one request for a file; by default that of a well-behaved server.

    `status` is sent alone, with `headers`; `body` in place of the file. `ignore_range` answers 200 with all of it,
    `range_from` 206 with another part than asked for. `length` is said to be that of the body (-1: none is said),
    `chunked` sends it in chunks instead. After `cut_after` bytes of the body the connection is closed; after
    `hold_after` nothing more comes until the server is told to go on.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    ignore_range: bool = False
    range_from: int | None = None
    length: int | None = None
    chunked: bool = False
    cut_after: int | None = None
    hold_after: int | None = None


@dataclass(frozen=True)
class Request:
    """A request, and the status of its answer."""

    path: str
    range: str | None
    if_range: str | None
    status: int


class ArchiveServer(LoopbackServer):
    """Serves `folder`, every file under its name whatever folders the address has.

    `answers[name]` are the next answers for a file; where there are none left, it behaves. `requests` is what was
    asked for. `validators` are the headers that tell one version of a file from another: 'ETag', 'weak', 'date'.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, deque[Answer]] = defaultdict(deque)
        self.requests: list[Request] = []
        self.validators: set[str] = {"ETag"}
        self.held = Event()
        super().__init__(type("Handler", (_Handler,), {"archives": self}))

    def ranges(self, name: str) -> list[str | None]:
        """The `Range` headers of the requests for a file, in order."""
        return [request.range for request in self.requests if request.path.endswith(f"/{name}")]

    def etag(self, name: str) -> str:
        return f'"{hashlib.sha256((self.folder / name).read_bytes()).hexdigest()[:16]}"'


class _Handler(LoopbackHandler):
    archives: ClassVar[ArchiveServer]

    def do_GET(self) -> None:
        """Answer; the name is http.server's."""
        name = self.path.rsplit("/", 1)[-1]
        answers = self.archives.answers[name]
        answer = answers.popleft() if answers else Answer()
        file = self.archives.folder / name
        if answer.status is not None:
            self._send(answer.status, answer.body or b"", answer)
        elif answer.body is not None:
            self._send(200, answer.body, answer)
        elif not file.is_file():
            self._send(404, b"no such file", answer)
        else:
            self._send_file(name, file.read_bytes(), answer)

    def _send_file(self, name: str, content: bytes, answer: Answer) -> None:
        etag = self.archives.etag(name)
        headers = {"ETag": etag, "weak": f"W/{etag}", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
        names = {"ETag": "ETag", "weak": "ETag", "date": "Last-Modified"}
        told = {names[kind]: headers[kind] for kind in self.archives.validators}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if_range = self.headers.get("If-Range")
        if not asked or answer.ignore_range or (if_range is not None and if_range not in told.values()):
            self._send(200, content, answer, told)
        elif int(asked[1]) >= len(content):
            self._send(416, b"", answer, {"Content-Range": f"bytes */{len(content)}"})
        else:
            start = int(asked[1]) if answer.range_from is None else answer.range_from
            told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], answer, told)

    def _send(self, status: int, body: bytes, answer: Answer, headers: Mapping[str, str] | None = None) -> None:
        request = Request(self.path, self.headers.get("Range"), self.headers.get("If-Range"), status)
        self.archives.requests.append(request)
        self.send_response(status)
        for key, value in {**(headers or {}), **answer.headers}.items():
            self.send_header(key, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        elif answer.length != -1:
            self.send_header("Content-Length", str(len(body) if answer.length is None else answer.length))
        self.end_headers()
        if answer.hold_after is not None:
            self.wfile.write(body[: answer.hold_after])
            self.archives.held.set()
            self.archives.go_on.wait()
            body = body[answer.hold_after :]
        if answer.cut_after is not None or answer.length is not None:
            self.close_connection = True
        self.wfile.write(body[: answer.cut_after])
