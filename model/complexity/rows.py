"""One row per model: the cost of ours beside the papers' figures."""

from dataclasses import asdict, dataclass

from model.complexity.counts import MacCounts, ParameterCounts, count_macs, count_parameters, meta_network
from model.complexity.measure import Measurement
from model.network.config import NetworkConfig
from model.published.models import PublishedModel

GIGA, MEGA = 1e9, 1e6


@dataclass(frozen=True)
class ModelRow:
    """Costs of one model; multiply-adds are those of one image of `size`."""

    name: str
    title: str
    size: tuple[int, int]  # (width, height)
    parameters: ParameterCounts
    macs: MacCounts
    paper: PublishedModel | None
    macs_at_papers_size: int | None  # by the papers' count
    measurements: tuple[Measurement, ...]  # one for each size

    @property
    def official_parameters(self) -> int | None:
        """Parameters in a published file of the model."""
        return sum(self.parameters.all.values()) + self.paper.unused_parameters if self.paper else None

    @property
    def papers_parameters(self) -> int | None:
        """Parameters that the paper's figure counts: the trainable ones, including those that nothing uses."""
        return sum(self.parameters.trainable.values()) + self.paper.unused_parameters if self.paper else None

    @property
    def parameters_difference(self) -> float | None:
        """Difference in percent of the paper's figure."""
        return _percent(self.papers_parameters, self.paper.parameters if self.paper else None, MEGA)

    @property
    def macs_difference(self) -> float | None:
        """Difference in percent of the paper's figure."""
        return _percent(self.macs_at_papers_size, self.paper.gmacs if self.paper else None, GIGA)

    def metrics(self) -> dict[str, float | None]:
        """Return the row as flat numbers."""
        numbers: dict[str, float | None] = {
            "parameters": sum(self.parameters.all.values()),
            "trainable_parameters": sum(self.parameters.trainable.values()),
            "gmacs_modules": _giga(sum(self.macs.modules.values())),
            "gmacs_full": _giga(sum(self.macs.products.values())),
            "gmacs_sampling": _giga(sum(self.macs.sampling.values())),
        }
        if self.paper:
            numbers["parameters_difference_percent"] = self.parameters_difference
            numbers["gmacs_difference_percent"] = self.macs_difference
        for measured in self.measurements:
            size = f"{measured.width}x{measured.height}"
            numbers[f"latency_ms_median_{size}"] = measured.median_ms
            numbers[f"latency_ms_p90_{size}"] = measured.p90_ms
            numbers[f"memory_mib_{size}"] = measured.memory_mib
        return numbers

    def to_json(self) -> dict[str, object]:
        """Return everything, by part of the network."""
        parts = {
            part: {
                "parameters": self.parameters.all.get(part, 0),
                "trainable_parameters": self.parameters.trainable.get(part, 0),
                "macs_modules": self.macs.modules.get(part, 0),
                "macs_full": self.macs.products.get(part, 0),
                "macs_sampling": self.macs.sampling.get(part, 0),
            }
            for part in self.parts
        }
        return {
            "name": self.name,
            "title": self.title,
            "size": self.size,
            **self.metrics(),
            "parts": parts,
            "official_parameters": self.official_parameters,
            "papers_parameters": self.papers_parameters,
            "macs_at_papers_size": self.macs_at_papers_size,
            "paper": asdict(self.paper) if self.paper else None,
            "measurements": [asdict(measured) for measured in self.measurements],
        }

    @property
    def parts(self) -> list[str]:
        """Parts of the network that hold parameters or compute, in the order of its figure."""
        return list(dict.fromkeys([*self.parameters.all, *self.macs.modules]))


def count_published(
    name: str, paper: PublishedModel, size: tuple[int, int], measurements: tuple[Measurement, ...] = ()
) -> ModelRow:
    """Count a model of the papers at any size, and at the one that the paper used."""
    network = meta_network(paper.config, paper.num_things, paper.num_stuff)
    macs = count_macs(network, *size)
    at_papers_size = macs if size == paper.size else count_macs(network, *paper.size)
    return ModelRow(
        name=name,
        title=paper.title,
        size=size,
        parameters=count_parameters(network),
        macs=macs,
        paper=paper,
        macs_at_papers_size=sum(at_papers_size.modules.values()),
        measurements=measurements,
    )


def count_own(
    name: str,
    config: NetworkConfig,
    classes: tuple[int, int],
    size: tuple[int, int],
    measurements: tuple[Measurement, ...] = (),
) -> ModelRow:
    """Count a network of your own; `classes` are the numbers of thing and stuff classes."""
    network = meta_network(config, *classes)
    parts = f"{config.family}, backbone {network.backbone_name}"
    title = f"your network ({parts}, {classes[0]} thing and {classes[1]} stuff classes)"
    return ModelRow(name, title, size, count_parameters(network), count_macs(network, *size), None, None, measurements)


def _giga(count: int) -> float:
    return round(count / GIGA, 3)


def _percent(ours: int | None, theirs: float | None, unit: float) -> float | None:
    if ours is None or theirs is None:
        return None
    return round(100 * (ours / unit / theirs - 1), 2)
