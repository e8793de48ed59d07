"""The four networks of the published checkpoints, and recognition of the one that a state dict belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.published.models import PUBLISHED
from model.weights.checkpoint import meta_entries
from model.weights.loading.layout import OfficialLayoutError, form_of, listed
from model.weights.official.classes import ClassCounts
from model.weights.official.names import network_layout, without_unused
from model.weights.official.renaming import current_names, describe_renamed, guess_names

CONFIGS: Mapping[str, NetworkConfig] = MappingProxyType(
    {name: model.config for name, model in PUBLISHED.items() if model.checkpoint}
)
"""The rows of `PUBLISHED` whose weights the authors published."""


def published_inference(config: NetworkConfig) -> InferenceSettings:
    """Return the settings that the authors evaluate a checkpoint with: all but the threshold are equal."""
    threshold = 0.25 if config.backbone.startswith("resnet") else 0.3
    return InferenceSettings(merging=MergingSettings(score_threshold=threshold))


@dataclass(frozen=True)
class Recognized:
    """A state dict in the present published names."""

    state: dict[str, Tensor]
    renamed: Mapping[str, str]  # present name by one that the code had earlier
    guessed: Mapping[str, str]  # published name by one that is unknown

    def lines(self) -> list[str]:
        """List the names that were taken for others."""
        return [
            *describe_renamed(self.renamed, "its name before 2021-12-08"),
            *describe_renamed(self.guessed, "guessed by shape and order, as the name is unknown; check the scores"),
        ]


def expected_entries(config: NetworkConfig, counts: ClassCounts) -> dict[str, Tensor]:
    """Names, shapes and types of our network's entries, without memory for their values."""
    return meta_entries(config, counts.things, counts.stuff)


def recognize(state: Mapping[str, Tensor], model: str, subject: str) -> Recognized:
    """Find the published name of every entry of a file: names of earlier code are known, others are guessed.

    Guesses count only if they leave no entry over, on either side.

    Raises:
        OfficialLayoutError: the state dict is of another model, or of none; says what does not fit.
    """
    renamed = current_names(state)
    named = {renamed.get(name, name): tensor for name, tensor in state.items()}
    expected = expected_entries(CONFIGS[model], ClassCounts.of_official(named))
    forms = network_layout(CONFIGS[model].backbone, expected).forms(expected)
    unknown = {name: form_of([tensor]) for name, tensor in without_unused(named).items() if name not in forms}
    guessed = guess_names(unknown, {name: form for name, form in forms.items() if name not in named})
    complete = {guessed.get(name, name): tensor for name, tensor in named.items()}
    if guessed and not _issues(complete, model):
        return Recognized(complete, renamed, guessed)
    require_model(named, model, subject)
    return Recognized(named, renamed, {})


def identify(state: Mapping[str, Tensor]) -> str:
    """Name the published model that a state dict is of, or comes closest to."""
    renamed = current_names(state)
    named = {renamed.get(name, name): tensor for name, tensor in state.items()}
    exact = next((model for model in CONFIGS if not _issues(named, model)), None)
    return exact or min(CONFIGS, key=lambda model: len(_issues(named, model)))


def require_model(state: Mapping[str, Tensor], model: str, subject: str) -> None:
    """Check that a published state dict is of this model, whatever its class counts.

    Raises:
        OfficialLayoutError: it is not; says which model fits, or what does not fit the closest one.
    """
    if not _issues(state, model):
        return
    issues = {other: _issues(state, other) for other in CONFIGS}
    closest = min(issues, key=lambda other: len(issues[other]))
    if not issues[closest]:
        raise OfficialLayoutError(f"{subject}: is a checkpoint of {closest}, not of {model}; use --model {closest}")
    raise OfficialLayoutError(
        f"{subject}: is no checkpoint of {', '.join(CONFIGS)}. Closest is {closest}; what does not fit it "
        f"({len(issues[closest])} in all):\n" + "\n".join(listed(issues[closest]))
    )


def model_of(backbone: str) -> str | None:
    """Name of the published model with this backbone, if any."""
    return next((name for name, config in CONFIGS.items() if config.backbone == backbone), None)


def _issues(state: Mapping[str, Tensor], model: str) -> dict[str, str]:
    expected = expected_entries(CONFIGS[model], ClassCounts.of_official(state))
    layout = network_layout(CONFIGS[model].backbone, expected)
    return layout.issues(without_unused(state), expected)
