"""What is planned: the settings of a run, and how many processes share its training."""

from dataclasses import dataclass

from model.inference import InferenceSettings
from model.network.config import NetworkConfig
from model.training.sampling import Split
from model.training.settings import TrainSettings
from panoptic.annotating import AnnotateSettings
from panoptic.corrupted import CorruptSettings
from panoptic.download.obtaining import DownloadSettings
from panoptic.layout import DatasetSettings


@dataclass(frozen=True)
class Recipe:
    """The sections of params.yaml that decide what a run takes."""

    dataset: DatasetSettings
    download: DownloadSettings
    annotate: AnnotateSettings
    model: NetworkConfig
    train: TrainSettings
    predict: InferenceSettings
    corrupt: CorruptSettings
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse what the training would refuse: a batch that the processes cannot share."""
        if self.processes < 1:
            raise ValueError(f"{self.processes} processes; give at least 1")
        assert self.forwards

    @property
    def forwards(self) -> int:
        """Forward passes of each process in a step."""
        train = self.train
        return Split(train.batch_size, train.images_per_forward, 0, self.processes).forwards
