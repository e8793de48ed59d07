"""Fetching one image from the web into memory, within limits of size, time and redirects."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import cast
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from panoptic.io.errors import DatasetError, root_cause

SCHEMES = ("http", "https")
LARGEST_BYTES = 1 << 28
_SECONDS, _SILENCE, _CONNECT = 120.0, 20.0, 10.0
_REDIRECTS = 5
_PIECE = 1 << 16
_HINT = "check the address and the network (http_proxy, https_proxy), or download the image and give its path"


@dataclass(frozen=True)
class WebAddress:
    """An image on the web, which is fetched when it is read; it may take so many bytes and seconds."""

    address: str
    most_bytes: int = LARGEST_BYTES
    most_seconds: float = _SECONDS

    @property
    def host(self) -> str:
        """The server, without port and password."""
        return urlsplit(self.address).hostname or "web"

    @property
    def place(self) -> PurePosixPath:
        """The server, and the folder of the path on it."""
        return PurePosixPath(self.host, *(part for part in self._path.split("/")[:-1] if part not in ("", ".", "..")))

    @property
    def name(self) -> str:
        """The last part of the path, or the host where there is none."""
        last = self._path.rpartition("/")[2]
        return self.host if last in ("", ".", "..") else last

    @property
    def _path(self) -> str:
        return unquote(urlsplit(self.address).path).replace("\\", "/").replace("\0", "").rstrip("/")

    @property
    def shown(self) -> str:
        """The address without the name and password of a user."""
        parts = urlsplit(self.address)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def read(self, _name: str) -> bytes:
        """Fetch the image. Raises `DatasetError` if that takes too long or fails."""
        try:
            with requests.Session() as session:
                session.max_redirects = _REDIRECTS
                # Plain bytes, so that a small answer cannot unpack to a large one. Redirects lead to http and https
                # only: the session knows nothing else.
                session.headers.update({"Accept-Encoding": "identity", "User-Agent": "panoptic-segformer"})
                with session.get(self.address, stream=True, timeout=(_CONNECT, _SILENCE)) as response:
                    return self._content(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
            raise DatasetError(f"{self.shown}: could not be fetched ({root_cause(error)}); {_HINT}") from None

    def _content(self, response: requests.Response) -> bytes:
        if response.status_code != requests.codes.ok:
            answer = f"{response.status_code} {response.reason or ''}".rstrip()
            raise DatasetError(f"{self.shown}: the server answers {answer}; {_HINT}")
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > self.most_bytes:
            raise self._too_large()
        content = bytearray()
        deadline = time.monotonic() + self.most_seconds
        for piece in _pieces(response):
            content += piece
            if len(content) > self.most_bytes:
                raise self._too_large()
            if time.monotonic() > deadline:
                found = f"only {len(content)} bytes have arrived in {self.most_seconds:g} s"
                raise DatasetError(f"{self.shown}: {found}; {_HINT}")
        return bytes(content)

    def _too_large(self) -> DatasetError:
        limit = f"has more than the {self.most_bytes} bytes that are fetched"
        return DatasetError(f"{self.shown}: {limit}; download the image and give its path")


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the content as it arrives: waiting for full pieces, a server that drips would never be given up."""
    while piece := cast(bytes, response.raw.read1(_PIECE, decode_content=False)):
        yield piece
