"""Requests a second of `panoptic serve` against the bare network, its memory, and its answers to hostile uploads.

    python -m benchmarks.serve --images photos/ --model runs/train/model.safetensors

Rounds of the network alone and of 1, 8 and 32 clients are interleaved. Every map is compared with that of the network.
Writes serve.md and serve.json.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import numpy as np
from tqdm import tqdm

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name
from benchmarks.harness.interleave import interleave
from benchmarks.harness.photos import Photo, load_photos
from benchmarks.harness.results import publish
from benchmarks.serve.hostile import hostile_uploads
from benchmarks.serve.load import Load, Sent, answers, send
from benchmarks.serve.program import Program, started
from benchmarks.serve.report import LoadSummary, Memory, ServeReport, serve_page
from model.inference.predictor import Predictor
from panoptic.format.id_map import encode_id_map
from panoptic.runtime.cli import run_command

NETWORK = "network alone"
CLIENTS = (1, 8, 32)
_WARM_UP = 0.1  # of the requests while memory is watched


@dataclass(frozen=True)
class ServePlan:
    """Images, weights and repetitions of the benchmark."""

    images: Path
    model: Path
    requests: int
    rounds: int
    memory_requests: int


def measure(plan: ServePlan) -> ServeReport:
    """Measure everything. Raises `ValueError` for weights without sizes, and for a folder without images."""
    photos, predictor = load_photos(plan.images, plan.model)
    sent = [Sent(photo.data, encode_id_map(predict(predictor, photo))) for photo in photos]
    with started(plan.model) as program:
        memory = watch_memory(program, list(islice(cycle(sent), plan.memory_requests)))
        refused = refusals(program)
        ((_, right_afterwards),) = answers(program, sent[:1])
    return ServeReport(
        device=machine_name(),
        photos=len(photos),
        requests=plan.requests,
        rounds=plan.rounds,
        loads=measure_loads(plan, predictor, photos, sent),
        memory=memory,
        refused=refused,
        right_afterwards=right_afterwards,
    )


def predict(predictor: Predictor, photo: Photo) -> np.typing.NDArray[np.int32]:
    """Predict the map of a photograph."""
    (prediction,) = predictor.predict([photo.prepared])
    return prediction.ids


def measure_loads(
    plan: ServePlan, predictor: Predictor, photos: Sequence[Photo], sent: Sequence[Sent]
) -> dict[str, LoadSummary]:
    """Measure the network alone, and the server with each number of clients."""
    asked = list(islice(cycle(sent), plan.requests))

    def network() -> list[tuple[float, bool]]:
        return list(predictions(predictor, islice(cycle(photos), plan.requests)))

    with started(plan.model) as program:
        runs = {f"{count} client{'s'[: count > 1]}": partial(send, program, asked, count) for count in CLIENTS}
        loads = interleave({NETWORK: partial(Load.of, network), **runs}, plan.rounds)
    return {name: LoadSummary.of(rounds, loads[NETWORK]) for name, rounds in loads.items()}


def predictions(predictor: Predictor, photos: Iterator[Photo]) -> Iterator[tuple[float, bool]]:
    """Predict photographs one after another; yields the seconds of each."""
    for photo in photos:
        begun = perf_counter()
        predict(predictor, photo)
        yield perf_counter() - begun, True


def watch_memory(program: Program, sent: Sequence[Sent]) -> Memory:
    """Send photographs, and follow the memory of the server. Raises `ValueError` if an answer is wrong."""
    before, held = program.resident_bytes, []
    for _, right in tqdm(answers(program, sent), "memory", total=len(sent), unit="request"):
        if not right:
            raise ValueError("the server gave another map than the network; there is no point in measuring it")
        held.append(program.resident_bytes)
    warm_up = int(_WARM_UP * len(held))
    warm = held[warm_up:]
    slope = float(np.polyfit(np.arange(len(warm)), warm, 1)[0])
    return Memory(len(sent), warm_up, before, warm[0], warm[-1], slope)


def refusals(program: Program) -> dict[str, int]:
    """Send hostile uploads, and count the answers by status."""
    statuses = Counter[str]()
    for _, data in hostile_uploads():
        with closing(program.connect()) as connection:
            connection.request("POST", "/predict", data)
            statuses[str(connection.getresponse().status)] += 1
    return dict(statuses)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("serve", __doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder or zip file of images")
    parser.add_argument("--model", type=Path, default=Path("runs/train/model.safetensors"), help="weights")
    parser.add_argument("--requests", type=int, default=256, help="of a load in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument(
        "--memory-requests", type=int, default=2000, help="while memory is watched (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(arguments.requests, arguments.rounds) < 1 or arguments.memory_requests < 10:
            raise ValueError("give at least one round, one request, and ten requests while memory is watched")
        counts = arguments.requests, arguments.rounds, arguments.memory_requests
        report = measure(ServePlan(arguments.images, arguments.model, *counts))
        publish("serve", serve_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
