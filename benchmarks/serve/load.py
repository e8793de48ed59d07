"""Clients that send photographs at the same time, and check every answer."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from benchmarks.serve.program import Program

_ADDRESS = "/predict?format=png"


class Sent(NamedTuple):
    """The bytes of a photograph, and the PNG that is the right answer."""

    photo: bytes
    answer: bytes


@dataclass(frozen=True)
class Load:
    """The seconds of each of some requests, and those that it took to answer all of them."""

    seconds: float
    latencies: tuple[float, ...]
    wrong: int = 0
    """Answers that are not those of the bare network, to the last bit."""

    @classmethod
    def of(cls, requests: Callable[[], list[tuple[float, bool]]]) -> "Load":
        """Time requests, each of which says its seconds and whether the answer was right."""
        started = perf_counter()
        answers = requests()
        latencies = tuple(latency for latency, _ in answers)
        return cls(perf_counter() - started, latencies, sum(not right for _, right in answers))

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Milliseconds within which that many percent of the requests were answered."""
        return float(1000 * np.percentile(self.latencies, percent))


def send(program: Program, photos: Sequence[Sent], clients: int) -> Load:
    """Send photographs by several clients; each sends its share one after another, over one connection."""

    def requests() -> list[tuple[float, bool]]:
        with ThreadPoolExecutor(clients) as pool:
            shares = pool.map(lambda number: list(answers(program, photos[number::clients])), range(clients))
            return [answer for share in shares for answer in share]

    return Load.of(requests)


def answers(program: Program, photos: Sequence[Sent]) -> Iterator[tuple[float, bool]]:
    """Send photographs one after another; yields the seconds of each, and whether its answer was right."""
    with closing(program.connect()) as connection:
        for sent in photos:
            started = perf_counter()
            connection.request("POST", _ADDRESS, sent.photo)
            response = connection.getresponse()
            content = response.read()
            yield perf_counter() - started, response.status == 200 and content == sent.answer
