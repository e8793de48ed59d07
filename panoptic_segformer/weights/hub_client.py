"""Talking to the Hugging Face hub with time limits, without telemetry, and with errors of one line."""

import errno
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from panoptic.io.errors import causes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_S = 60.0
"""How long to wait for any answer; for some, the hub's client would wait forever."""
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
_PART = r"[A-Za-z0-9](?:[\w.-]*\w)?"
_ADDRESS = re.compile(rf"(hf://)?({_PART}/{_PART})(?:@([\w./-]+))?", re.ASCII)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_BUSY = (408, 429)
_MISREAD = (LookupError, TypeError, AttributeError)
"""Raised by the hub's client for an answer that is JSON, but not the hub's."""


class HubError(ValueError):
    """The hub refuses a request, or cannot be reached."""


class UnreachableError(HubError):
    """The hub does not answer, or answers that it is out of order."""


@dataclass(frozen=True)
class HubAddress:
    """A model on the hub, at a branch, tag or commit."""

    repository: str
    revision: str = "main"
    is_explicit: bool = True
    """True if it was written as `hf://`, and can be nothing else."""

    @classmethod
    def parse(cls, text: str) -> "HubAddress | None":
        """Read `owner/name`, `owner/name@revision`, or either after `hf://`; None for anything else."""
        match = _ADDRESS.fullmatch(text)
        return cls(match[2], match[3] or "main", bool(match[1])) if match else None

    @classmethod
    def require(cls, text: str) -> "HubAddress":
        """Read an address. Raises `ValueError` for anything else."""
        address = cls.parse(text)
        if address is None:
            raise ValueError(f"{text!r} is no model on the hub; give owner/name, or owner/name@revision")
        return address

    def __str__(self) -> str:
        return f"hf://{self.repository}@{self.revision}"


def page(address: HubAddress) -> str:
    """Return the address of a model's page in a browser."""
    from huggingface_hub import constants

    return f"{without_password(constants.ENDPOINT)}/{address.repository}"


def without_password(endpoint: str) -> str:
    """Return a web address without the name and password of a user."""
    return re.sub(r"//[^/]*@", "//", endpoint)


def require_endpoint() -> None:
    """Check HF_ENDPOINT, which the hub's client takes as it is. Raises `HubError` if it is no web address."""
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint is None:
        return
    try:
        parts = urlsplit(endpoint)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not (is_address and endpoint.isprintable()):
        shown = repr(without_password(endpoint))
        raise HubError(f"HF_ENDPOINT is {shown:.100}, which is no web address; give one with https://, or unset it")


@contextmanager
def talking_about(address: HubAddress) -> Iterator["HfApi"]:
    """Yield the hub's client, which is set up for the block alone; its errors become `HubError`.

    Files travel over plain HTTP, unless HF_HUB_DISABLE_XET=0 asks for the hub's own protocol, which has no time limits.
    """
    from huggingface_hub import HfApi, constants, get_session
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    session = get_session()
    before = constants.HF_HUB_DISABLE_TELEMETRY, constants.HF_HUB_DISABLE_XET
    is_terminal, had_progress = sys.stderr.isatty(), not are_progress_bars_disabled()
    verbosity, timeout = get_verbosity(), session.timeout
    # The base of the errors of the HTTP library that the client uses, whichever it is, and OSError.
    of_requests = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    errors: tuple[type[Exception], ...] = (*of_requests, ValueError, RuntimeError, *_MISREAD)
    try:
        constants.HF_HUB_DISABLE_TELEMETRY = True
        constants.HF_HUB_DISABLE_XET = os.environ.get("HF_HUB_DISABLE_XET") != "0"
        set_verbosity(logging.ERROR)
        session.timeout = TIMEOUT_S
        if not is_terminal:
            disable_progress_bars()
        yield HfApi(library_name="panoptic-segformer")
    except errors as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise
        if isinstance(error, OSError) and error.filename:
            where = f"{error.filename}: {error.strerror}"
            raise HubError(f"{where}; set HF_HOME to a folder for tokens and downloads that can be used") from error
        if is_terminal:
            print(file=sys.stderr)  # below a bar of progress
        raise _explained(error, address, without_password(constants.ENDPOINT)) from error
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY, constants.HF_HUB_DISABLE_XET = before
        set_verbosity(verbosity)
        if had_progress:
            enable_progress_bars()
        session.timeout = timeout


def _explained(error: Exception, address: HubAddress, endpoint: str) -> HubError:
    """Say in one line what went wrong, and what to do about it."""
    from huggingface_hub import errors

    chain = list(causes(error))
    for each in chain:
        if isinstance(each, errors.GatedRepoError):
            return HubError(f"{address}: its owner asks for consent; give it at {page(address)}, and {LOGIN}")
        if isinstance(each, errors.RepositoryNotFoundError):
            return HubError(f"{address}: {endpoint} shows no such model; check the name or, if it is private, {LOGIN}")
        if isinstance(each, errors.RevisionNotFoundError):
            return HubError(f"{address}: no such branch, tag or commit; choose from {page(address)}/tree/main")
        if isinstance(each, errors.OfflineModeIsEnabled):
            return UnreachableError(f"{address}: HF_HUB_OFFLINE keeps the hub's client off the network")
        if isinstance(each, errors.HfHubHTTPError):
            return _refused(each.response.status_code, each.server_message or "", address, endpoint)
    if any("Timeout" in type(each).__name__ for each in chain):
        return UnreachableError(f"{address}: {endpoint} did not answer in time")
    reason = " ".join(str(chain[-1]).split()) or type(chain[-1]).__name__
    if isinstance(error, _MISREAD):
        return UnreachableError(f"{address}: {endpoint} does not answer as the hub does ({reason:.200})")
    return UnreachableError(f"{address}: {endpoint} failed ({reason:.200})")


def _refused(status: int, said: str, address: HubAddress, endpoint: str) -> HubError:
    if status == 401:
        return HubError(f"{address}: {endpoint} does not accept the token; {LOGIN}")
    if status == 403:
        return HubError(f"{address}: {endpoint} does not allow this with the token; make one that may write there")
    answer = " ".join(f"{address}: {endpoint} answers {status} {said:.200}".split())
    return UnreachableError(answer) if status >= 500 or status in _BUSY else HubError(f"{answer}; check the request")
