"""Replay of the first training steps from the initial seed, by the training loop itself."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import torch

from model.network.config import NetworkConfig
from model.ops.backends import using, why_not
from model.training.distributed.processes import Processes
from model.training.distributed.stopping import StoppedError
from model.training.first_steps import NAME
from model.training.loop import TrainingRun, train
from model.training.settings import TrainSettings
from model.training.starting import starting_network
from model.verify.check import FAILED, NOT_MADE, OK, Check, Run, first, settings_of
from model.verify.code import other_code
from model.weights.loading.files import WeightsError
from model.weights.loading.initial import find_initial_weights
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.io.working_folder import working_folder
from panoptic.passport.digests import digest_of

TOLERANCE = 0.01
"""Relative difference of the loss of the first step that is allowed on a machine of another kind."""


def check_replay(run: Run, steps: int, pretrained: Path) -> Check:
    """Train for `steps` steps from the initial seed and compare the weights after those that the run recorded."""
    recorded = run.weights.section("training").child("first_steps")
    wanted = sorted(int(step) for step in recorded.values if int(step) <= steps)
    if not wanted:
        return Check("replay", NOT_MADE, f"no step up to {steps} was recorded, only {', '.join(recorded.values)}")
    index = run.data("train index")
    if not index.exists():
        return Check("replay", NOT_MADE, f"{index} is not there; give its root with --data")
    try:
        initial = _initial_weights(run, pretrained)
    except WeightsError as error:
        return Check("replay", NOT_MADE, f"the initial weights are missing: {error}")
    with working_folder() as folder, _as_recorded(run):
        found = _first_steps(run, PanopticIndex.load(index), initial, wanted[-1], folder)
    return _verdict(run, recorded, found, wanted)


def _initial_weights(run: Run, pretrained: Path) -> Path | None:
    described = run.weights.section("training").child("initial_weights")
    settings, config = (
        settings_of(run.weights, "train", TrainSettings),
        settings_of(run.weights, "model", NetworkConfig),
    )
    initial = find_initial_weights(settings.initial_weights, config.backbone, pretrained)
    digest = digest_of(initial) if initial else None
    if digest != described.values.get("sha256"):
        raise WeightsError(f"{initial} has the digest {digest}, expected {described.values.get('sha256')}")
    return initial


def _first_steps(run: Run, index: PanopticIndex, initial: Path | None, steps: int, folder: Path) -> JsonObject:
    settings = replace(settings_of(run.weights, "train", TrainSettings), workers=0)
    network, _ = starting_network(settings_of(run.weights, "model", NetworkConfig), settings, index.categories, initial)
    asked = iter(range(1, steps + 1))
    training = TrainingRun(
        network=network,
        index=index,
        settings=settings,
        state_file=folder / "state.pt",
        curves=folder,
        processes=Processes(),
        validate=lambda _: {},
        stop_requested=lambda: next(asked) == steps,
    )
    with suppress(StoppedError):
        train(training)
    return read_json(folder / NAME)


@contextmanager
def _as_recorded(run: Run) -> Iterator[None]:
    """Set threads and backend as they were, where this machine can."""
    machine, before = run.weights.section("machine"), torch.get_num_threads()
    operator, device = machine.text("operator"), "cpu" if machine.text("device") == "cpu" else "cuda"
    torch.set_num_threads(machine.integer("threads"))
    try:
        with using(operator) if why_not(operator, device) is None else nullcontext():
            yield
    finally:
        torch.set_num_threads(before)


def _verdict(run: Run, recorded: JsonObject, found: JsonObject, steps: list[int]) -> Check:
    name, shown = "replay", ", ".join(map(str, steps))
    bits = {step: found.child(str(step)).text("weights") for step in steps}
    wrong = [
        f"step {step}: weights {bits[step][:16]}, expected {recorded.child(str(step)).text('weights')[:16]}"
        for step in steps
        if bits[step] != recorded.child(str(step)).text("weights")
    ]
    if not wrong:
        return Check(name, OK, f"weights after steps {shown} equal bit for bit")
    losses = [document.child(str(steps[0])).number("loss") for document in (found, recorded)]
    apart = abs(losses[0] - losses[1]) / max(abs(losses[1]), 1e-12)
    seen = f"the loss of step {steps[0]} is {losses[0]:.6g}, expected {losses[1]:.6g}"
    if run.machine_differences:
        where = f"machine of another kind ({first(list(run.machine_differences))})"
        verdict = OK if apart <= TOLERANCE else FAILED
        return Check(name, verdict, f"{where}, so bits may differ; {seen}, {100 * apart:.2g} % apart, 1 % allowed")
    if code := other_code(run.weights):
        return Check(name, NOT_MADE, f"{first(wrong)}, but this checkout has other code: {first(code)}; {seen}")
    return Check(name, FAILED, f"on a machine of the same kind: {first(wrong)}; {seen}")
