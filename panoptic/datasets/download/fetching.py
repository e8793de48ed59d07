"""Fetching a file over HTTP: dropped connections are resumed, busy servers asked again.

A partial file is continued with a `Range` request. `If-Range` makes a server whose file has changed send all of it; a
partial file from another address is continued only if the checksum is known, which then decides. Proxies and
certificates are those of the environment (`https_proxy`, `no_proxy`, `REQUESTS_CA_BUNDLE`).
"""

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import cast

import requests
import urllib3
from requests.exceptions import ConnectTimeout, InvalidSchema, InvalidURL, SSLError, TooManyRedirects
from urllib3.exceptions import NewConnectionError

from panoptic.datasets.download.partial_file import HEAD, Origin, PartialFile, other_content
from panoptic.io.errors import DatasetError, causes, root_cause

LONGEST_WAIT_S = 600.0  # that a server may request
LONGEST_BACKOFF_S = 60.0
CONNECT_TIMEOUT_S = 10.0
UNREACHABLE_RETRIES = 2  # of a server that has not answered yet: an unknown name, or a refused connection
_ASK_AGAIN = (408, 416, 425, 429)
_PIECE = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """A file to fetch, the addresses to try in order, its size and checksum (None if unknown), and other ways to it."""

    target: Path
    addresses: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None
    hint: str = "name a mirror in download.mirrors, or a folder that has the file in download.from_folder"


@dataclass(frozen=True)
class Patience:
    """Retries of one address in a row without any new byte, and the longest silence of a connection.

    A server that cannot be reached from the start gets `UNREACHABLE_RETRIES` at most, as a machine without a network
    should say so soon. The first wait is `backoff_s`, minus a random fraction of up to a half; each further one is
    twice as long.
    """

    retries: int
    timeout_s: float
    backoff_s: float
    wait: Callable[[float], object] = time.sleep


class _RefusedError(Exception):
    """An address is of no use."""


class _AskAgainError(Exception):
    """The same address may succeed later; `wait_s` is how long the server asked to wait."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def fetch(
    wanted: Wanted, patience: Patience, advance: Callable[[int], None], tell: Callable[[str], None]
) -> tuple[str, str]:
    """Fetch a file; returns its SHA-256 and the address that it came from.

    `advance` is called with the number of bytes that arrive, `tell` with a line for each retry. Raises `DatasetError`
    with the failure of every address if none has the file.
    """
    part = PartialFile(wanted.target, advance)
    if wanted.bytes is not None and part.origin and part.origin.bytes != wanted.bytes:
        part.discard()
    refusals = []
    with requests.Session() as session:
        for address in wanted.addresses:
            try:
                return _Transfer(wanted, address, part, session).run(patience, tell), address
            except _RefusedError as error:
                refusals.append(f"{address} {error}")
    raise DatasetError(
        f"{wanted.target.name} could not be fetched: {'; '.join(refusals) or 'no address is known'}. Check the network"
        f" and its settings (http_proxy, https_proxy, REQUESTS_CA_BUNDLE), {wanted.hint}"
    )


class _Transfer:
    """The transfer of a file from one address."""

    def __init__(self, wanted: Wanted, address: str, part: PartialFile, session: requests.Session) -> None:
        self._wanted, self._address, self._part, self._session = wanted, address, part, session
        self._has_answered = False

    def run(self, patience: Patience, tell: Callable[[str], None]) -> str:
        """Send requests until the file is complete and correct; returns its SHA-256."""
        failures, most = 0, self._part.size
        while True:
            retries = patience.retries
            try:
                if not self._part.is_complete:
                    self._receive(patience.timeout_s)
                return self._checked()
            except (SSLError, TooManyRedirects, InvalidURL, InvalidSchema) as error:
                raise _RefusedError(f"cannot be asked: {root_cause(error)}") from None
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                problem, wait_s = root_cause(error), None
                if not self._has_answered and _is_unreachable(error):
                    retries = min(patience.retries, UNREACHABLE_RETRIES)
            except _AskAgainError as error:
                problem, wait_s = str(error), error.wait_s
            failures = 1 if self._part.size > most else failures + 1
            most = max(most, self._part.size)
            if failures > retries:
                raise _RefusedError(f"failed {failures} times in a row: {problem}")
            if wait_s is None:
                wait_s = min(patience.backoff_s * 2 ** (failures - 1), LONGEST_BACKOFF_S) * random.uniform(0.5, 1)
            again = f"asking again in {wait_s:.0f} s ({failures} of {retries})"
            tell(f"{self._wanted.target.name}: {problem}; {again}")
            patience.wait(wait_s)

    def _receive(self, timeout_s: float) -> None:
        """Request the missing bytes once, and write those that arrive."""
        headers = {"Accept-Encoding": "identity"} | self._conditions()
        timeouts = min(CONNECT_TIMEOUT_S, timeout_s), timeout_s
        with self._session.get(self._address, headers=headers, stream=True, timeout=timeouts) as response:
            self._has_answered = True
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise _RefusedError("answers with an encoding that was not asked for")
            if response.status_code == 200:
                self._start_with(response)
            elif response.status_code == 206:
                self._continue_with(response)
            else:
                if response.status_code == 416:
                    self._part.discard()
                raise _failure(response)

    def _conditions(self) -> dict[str, str]:
        """The headers that continue the partial file; none if it may be of another file."""
        origin = self._part.origin
        if origin is None or self._part.size == 0:
            return {}
        only_missing = {"Range": f"bytes={self._part.size}-"}
        if origin.address == self._address and origin.validator:
            return only_missing | {"If-Range": origin.validator}
        return only_missing if self._wanted.sha256 else {}

    def _start_with(self, response: requests.Response) -> None:
        """Receive the whole file. The partial file is kept until the answer turns out to be an archive."""
        pieces = _pieces(response)
        head = b""
        while len(head) < HEAD and (piece := next(pieces, b"")):
            head += piece
        if other := other_content(head, self._wanted.target.name):
            raise _RefusedError(f"answers with {other}")
        announced, expected = response.headers.get("Content-Length", ""), self._wanted.bytes
        length = int(announced) if announced.isdecimal() else expected
        if length is None:
            raise _RefusedError("does not say how long the file is")
        if expected not in (None, length):
            raise _RefusedError(f"has a file of {length} bytes, expected {expected}")
        self._part.begin(Origin(self._address, length, _validator(response)))
        self._append(chain([head], pieces))

    def _continue_with(self, response: requests.Response) -> None:
        """Receive the rest of the file."""
        sent = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", sent)
        origin = self._part.origin
        if not (origin and found and int(found[1]) == self._part.size and found[2] in ("*", str(origin.bytes))):
            self._part.discard()
            raise _AskAgainError(f"answers with another range than requested: {sent or 'it does not say which'}")
        self._append(_pieces(response))

    def _append(self, pieces: Iterable[bytes]) -> None:
        origin = self._part.origin
        assert origin
        self._part.append(_at_most(origin.bytes - self._part.size, pieces))
        if not self._part.is_complete:
            raise _AskAgainError(f"the answer ended after {self._part.size} of {origin.bytes} bytes")

    def _checked(self) -> str:
        found, expected = self._part.sha256, self._wanted.sha256
        if expected in (None, found):
            self._part.finish()
            return found
        in_one_go = self._part.in_one_go
        self._part.discard()
        if in_one_go:
            raise _RefusedError(f"has a file with SHA-256 {found}, expected {expected}")
        raise _AskAgainError(f"the pieces do not make up the file: SHA-256 {found}, expected {expected}")


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the content as it arrives. Pieces of fixed size would lose the last one when the connection drops."""
    while piece := cast(bytes, response.raw.read1(_PIECE, decode_content=False)):
        yield piece


def _at_most(count: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:count]
        count -= len(piece)
        if count <= 0:
            return


def _validator(response: requests.Response) -> str:
    """The value for `If-Range`: a strong ETag, or else the time of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _failure(response: requests.Response) -> Exception:
    """The error for an answer without content."""
    status = f"answers {response.status_code} {response.reason}"
    if response.status_code < 500 and response.status_code not in _ASK_AGAIN:
        return _RefusedError(status)
    wait_s = _retry_after(response.headers.get("Retry-After", ""))
    if wait_s is not None and wait_s > LONGEST_WAIT_S:
        return _RefusedError(f"{status} and asks to wait {wait_s:.0f} s; try again later")
    return _AskAgainError(status, wait_s)


def _retry_after(value: str) -> float | None:
    """The seconds to wait by the header `Retry-After`, which is a number of seconds or a date."""
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _is_unreachable(error: BaseException) -> bool:
    """Tell whether there was no connection at all: the name is unknown, or the server, or a proxy, does not accept."""
    return any(isinstance(part, NewConnectionError | ConnectTimeout) for part in causes(error))
