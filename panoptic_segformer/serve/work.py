"""The threads behind the server, and the queue before them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from time import monotonic
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from panoptic.data.decoding import decode_upright
from panoptic.io.errors import DatasetError
from panoptic_segformer.images import NamedImage
from panoptic_segformer.model import Model
from panoptic_segformer.serve.limits import Limits, RefusalError
from panoptic_segformer.serve.uploads import Upload, check_image
from panoptic_segformer.unmerged import Unmerged

P = ParamSpec("P")
T = TypeVar("T")
GONE = RefusalError(499, "the client hung up")
_DECODED = 3  # images in memory at a time: one each for decoding, the network and merging


class Work:
    """Predicts and merges images, each step in a thread of its own, for as many requests as `limits.queue`."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.taken = 0
        self._decoder, self._network, self._merger = (ThreadPoolExecutor(1) for _ in range(3))
        self._decoded = asyncio.Semaphore(_DECODED)
        self._seconds = 1.0  # that a request takes, on average

    def require_slot(self) -> None:
        """Raise `RefusalError` if the queue is full."""
        if self.taken >= self.limits.queue:
            later = str(min(60, ceil(self._seconds * self.taken / 2)))
            raise RefusalError(
                503, f"{self.taken} requests are waiting; come again in {later} s", {"Retry-After": later}
            )

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take a slot of the queue. Raises `RefusalError` if there is none."""
        self.require_slot()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def find(self, upload: Upload, then: Callable[[Unmerged], T]) -> tuple[Unmerged, T]:
        """Decode an image, run the network, and merge by `then`.

        Raises:
            RefusalError: the image is damaged, too large, or of a type that is not read.
        """
        await asyncio.to_thread(check_image, upload.data, self.limits)
        async with self._decoded:
            started = monotonic()
            try:
                pixels = await _run(self._decoder, decode_upright, upload.data, "the upload")
            except DatasetError as error:
                raise RefusalError(422, str(error)) from None
            unmerged = await _run(self._network, self.model.find, NamedImage(upload.name, pixels))
            merged = await self.merge(then, unmerged)
            self._seconds += 0.2 * (monotonic() - started - self._seconds)
            return unmerged, merged

    async def merge(self, then: Callable[[Unmerged], T], unmerged: Unmerged) -> T:
        """Run `then`, which merges an image, in the thread for this."""
        return await _run(self._merger, then, unmerged)

    async def while_there(self, request: Request, answer: Awaitable[T]) -> T:
        """Wait for an answer as long as the client does; work that has not begun is dropped after that.

        Raises:
            RefusalError: it took too long, or the client has gone.
        """
        working, gone = asyncio.ensure_future(answer), asyncio.ensure_future(_gone(request))
        try:
            done, _ = await asyncio.wait(
                {working, gone}, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if working in done:
                return await working
            raise GONE if done else RefusalError(504, f"no answer within {self.limits.seconds:g} s; try again later")
        finally:
            working.cancel()
            gone.cancel()
            await asyncio.gather(working, gone, return_exceptions=True)

    def close(self) -> None:
        """Drop what has not begun."""
        for thread in (self._decoder, self._network, self._merger):
            thread.shutdown(wait=False, cancel_futures=True)


async def _run(thread: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.wrap_future(thread.submit(function, *args, **kwargs))


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
