"""A network sharded over two processes trains on images without things, stuff or both, as in a single process."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from model.training.distributed.processes import joined_processes
from model.training.loop import train
from panoptic.datasets.coco import build_index
from panoptic.index import PanopticIndex
from tests.model.training.test_loop import SETTINGS, Recipe, assert_equal_weights, free_port, make_run
from tests.tiny_dataset import STUFF, TinyImage, random_image, write_split

RECIPE = Recipe(replace(SETTINGS, batch_size=2, images_per_forward=1))
WAIT = timedelta(minutes=5)


def images() -> list[TinyImage]:
    """Make images with only things, only stuff, and only void."""
    rng = np.random.default_rng(0)
    made = [random_image(rng, index, 32, 32) for index in range(6)]
    return [
        *(only(image, stuff=False) for image in made[:2]),
        *(only(image, stuff=True) for image in made[2:4]),
        *(replace(image, ids=np.zeros_like(image.ids), segments=()) for image in made[4:]),
    ]


def only(image: TinyImage, stuff: bool) -> TinyImage:
    kept = tuple(segment for segment in image.segments if (segment.category_id in STUFF) is stuff)
    ids = np.where(np.isin(image.ids, [segment.id for segment in kept]), image.ids, 0).astype(np.int32)
    return replace(image, ids=ids, segments=kept)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PanopticIndex:
    split = write_split(tmp_path_factory.mktemp("tiny"), "train", images())
    return build_index(split.panoptic_json, split.masks, split.images)


def test_processes_whose_images_lack_things_or_stuff_train_like_one(index: PanopticIndex, tmp_path: Path) -> None:
    """Only parameters with gradients are reduced; the run would hang if they differed between the processes."""
    alone = train(make_run(index, tmp_path / "alone", RECIPE))
    index.save(tmp_path / "index")
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.model.training.distributed.test_sharding", str(tmp_path)],
            env=environment | {"RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    together = make_run(index, tmp_path, RECIPE).network
    together.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert_equal_weights(together, alone, tolerance=1e-4)


def train_as_one_of_two(folder: Path) -> None:
    """Run one process of the test above."""
    with joined_processes(WAIT) as processes:
        run = make_run(PanopticIndex.load(folder / "index"), folder, RECIPE, processes)
        network = train(replace(run, sharding="full"))
        if processes.is_main:
            torch.save(network.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    train_as_one_of_two(Path(sys.argv[1]))
