"""Weights for other classes: rows follow their class by name, or a renamed class by its id, and the rest is said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.weights.description import CheckpointError, Description, save_description
from model.weights.loading.files import WeightsError
from model.weights.loading.initial import find_initial_weights, load_initial_weights
from model.weights.loading.transfer import class_rows
from panoptic.format.categories import Category, CategoryTable
from tests.model.network.tiny_network import TINY

HEAD, BIAS = "location_decoder.class_heads.0.weight", "location_decoder.class_heads.1.bias"
STUFF_QUERY = "stuff_masks.query_embedding.weight"
THINGS, STUFF = {1: "coin", 2: "key"}, {3: "sky", 4: "table"}
JOINT = replace(TINY, stuff="joint")


def table(things: Mapping[int, str], stuff: Mapping[int, str]) -> CategoryTable:
    return CategoryTable.of(
        Category(number, name, is_thing, (0, 0, 0))
        for names, is_thing in ((things, True), (stuff, False))
        for number, name in names.items()
    )


def network_of(categories: CategoryTable, config: NetworkConfig, seed: int) -> PanopticSegFormer:
    """Every parameter is random, so that no two rows are equal."""
    torch.manual_seed(seed)
    network = PanopticSegFormer(config, len(categories.things), len(categories.stuff))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return network


def started(
    folder: Path, wanted: CategoryTable, old: CategoryTable | None = None, config: NetworkConfig = TINY
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Start a network with `wanted` classes from one with `old`: its state, those before and after, the description."""
    old = old or table(THINGS, STUFF)
    source = network_of(old, TINY, seed=0)
    save_checkpoint(folder / "model.safetensors", Checkpoint(TINY, old, {}, source))
    network = network_of(wanted, config, seed=1)
    initial = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    description = load_initial_weights(network, wanted, folder / "model.safetensors")
    assert description.splitlines()[0].endswith(f"from {folder / 'model.safetensors'}")
    lines = [line.strip() for line in description.splitlines()[1:]]
    return source.state_dict(), initial, network.state_dict(), lines


def assert_rows(found: Tensor, expected: Sequence[Tensor]) -> None:
    assert torch.equal(found, torch.stack(list(expected)))


def test_a_class_more_leaves_the_others_their_heads(tmp_path: Path) -> None:
    """The new class comes between them, as it is a thing."""
    old, initial, new, lines = started(tmp_path, table(THINGS | {5: "ring"}, STUFF))
    for name in (HEAD, BIAS):
        assert_rows(new[name], [old[name][0], old[name][1], initial[name][2]])
    same = [name for name in old if ".class_heads." not in name or name.startswith("stuff_masks.")]
    assert all(torch.equal(new[name], old[name]) for name in same)
    assert lines == ["classes kept: 4 (coin, key, sky, table)", "new classes, with initial values: 1 (ring)"]


def test_rows_follow_the_order_of_the_classes(tmp_path: Path) -> None:
    """The ids are others, so only the names count: id 2 is not a renamed key."""
    old, initial, new, lines = started(tmp_path, table({2: "ring", 7: "key", 9: "coin"}, {10: "table"}))
    assert_rows(new[HEAD], [initial[HEAD][0], old[HEAD][1], old[HEAD][0]])
    assert_rows(new[STUFF_QUERY], [old[STUFF_QUERY][1]])
    assert lines == [
        "classes kept: 3 (key, coin, table)",
        "new classes, with initial values: 1 (ring)",
        "classes dropped: 1 (sky)",
    ]


def test_other_ids_alone_change_nothing(tmp_path: Path) -> None:
    old, _, new, lines = started(tmp_path, table({11: "coin", 12: "key"}, {13: "sky", 14: "table"}))
    assert all(torch.equal(new[name], tensor) for name, tensor in old.items())
    assert not lines


def test_a_renamed_class_keeps_its_head_by_its_id(tmp_path: Path) -> None:
    old, initial, new, lines = started(tmp_path, table({1: "coin", 2: "keys", 5: "ring"}, STUFF))
    assert_rows(new[HEAD], [old[HEAD][0], old[HEAD][1], initial[HEAD][2]])
    assert lines == [
        "classes kept: 3 (coin, sky, table)",
        "classes kept by their id under a new name: 1 (key -> keys)",
        "new classes, with initial values: 1 (ring)",
    ]


def test_ids_of_another_dataset_mean_nothing(tmp_path: Path) -> None:
    old = table({number: f"thing {number}" for number in range(5, 12)} | {1: "cat", 2: "dog"}, STUFF)
    _, initial, new, lines = started(tmp_path, table({1: "coin", 2: "key"}, {3: "sky"}), old)
    assert torch.equal(new[HEAD], initial[HEAD])
    assert lines[:2] == ["classes kept: 1 (sky)", "new classes, with initial values: 2 (coin, key)"]


def test_a_thing_that_becomes_stuff_is_a_new_class(tmp_path: Path) -> None:
    _, initial, new, lines = started(tmp_path, table({1: "coin"}, STUFF | {2: "key"}))
    assert torch.equal(new[STUFF_QUERY][0], initial[STUFF_QUERY][0])
    assert lines[1:] == ["new classes, with initial values: 1 (key)", "classes dropped: 1 (key)"]


@pytest.mark.parametrize("old_is_doubled", [False, True])
def test_a_name_that_occurs_twice_is_refused(old_is_doubled: bool, tmp_path: Path) -> None:
    doubled, single = table({1: "coin", 2: "coin"}, STUFF), table({1: "coin"}, STUFF)
    old, wanted = (doubled, single) if old_is_doubled else (single, doubled)
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors has other classes than the data.* 'coin' occurs twice"
    ):
        started(tmp_path, wanted, old)


def test_the_same_table_is_taken_even_if_a_name_occurs_twice(tmp_path: Path) -> None:
    doubled = table({1: "coin", 2: "coin"}, STUFF)
    old, _, new, lines = started(tmp_path, doubled, doubled)
    assert all(torch.equal(new[name], tensor) for name, tensor in old.items())
    assert not lines


def test_things_only_drops_the_parts_of_stuff(tmp_path: Path) -> None:
    old, _, new, lines = started(tmp_path, table(THINGS, {}), config=replace(TINY, stuff="none"))
    assert all(torch.equal(tensor, old[name]) for name, tensor in new.items())
    count = sum(name.startswith("stuff_masks.") for name in old)
    assert lines == [
        "classes kept: 2 (coin, key)",
        "classes dropped: 2 (sky, table)",
        f"dropped, as the network has no such part: stuff_masks ({count} entries)",
    ]


def test_stuff_only_fits_a_joint_network(tmp_path: Path) -> None:
    old, initial, new, lines = started(tmp_path, table({}, STUFF), config=JOINT)
    assert torch.equal(new[HEAD], initial[HEAD])
    assert torch.equal(new["query_masks.tail.q.weight"], old["query_masks.tail.q.weight"])
    assert lines[0] == "classes kept: 2 (sky, table)"


def test_a_joint_network_keeps_the_classes_of_things(tmp_path: Path) -> None:
    old, initial, new, _ = started(tmp_path, table(THINGS, {3: "sky", 9: "sea"}), config=JOINT)
    assert_rows(new[HEAD], [old[HEAD][0], old[HEAD][1], initial[HEAD][2], initial[HEAD][3]])


@pytest.mark.parametrize(
    "config",
    [
        JOINT,
        replace(TINY, classes_from="masks"),
        replace(TINY, query_initialization="encoder"),
        replace(TINY, token_classes=True),
    ],
)
def test_every_entry_that_grows_with_the_classes_has_its_rows(config: NetworkConfig) -> None:
    categories = table({1: "coin", 2: "key", 5: "ring"}, STUFF)
    rows = class_rows(config, categories)
    state = network_of(categories, config, seed=0).state_dict()
    assert rows
    assert {name: len(ids) for name, ids in rows.items()} == {name: len(state[name]) for name in rows}
    assert {tuple(ids) for ids in rows.values()} <= {(1, 2, 5), (3, 4), (1, 2, 5, 3, 4)}


def test_other_sizes_are_refused_whatever_the_classes(tmp_path: Path) -> None:
    for config in (replace(TINY, queries=9), replace(TINY, queries=9, stuff="none")):
        with pytest.raises(CheckpointError, match="queries 9 instead of 7"):
            started(tmp_path, table(THINGS, STUFF), config=config)


def unfinished(folder: Path, average: bool) -> tuple[Path, PanopticSegFormer, PanopticSegFormer]:
    """The state of an unfinished run as the train stage writes it, its network, and the average of that."""
    categories, file = table(THINGS, STUFF), folder / "state.pt"
    network, averaged = (network_of(categories, TINY, seed) for seed in (0, 2))
    state = {"step": 3, "network": network.state_dict(), "optimizers": [], "recent": [], "curves": {}}
    torch.save(state | {"average": averaged.state_dict() if average else None}, file)
    save_description(file, Description(TINY, categories, {}))
    return file, network, averaged


def test_an_unfinished_run_is_a_start_with_its_weights_or_their_average(tmp_path: Path) -> None:
    file, network, averaged = unfinished(tmp_path, average=True)
    wanted = table(THINGS | {5: "ring"}, STUFF)
    for mark, source in (("", network), ("#ema", averaged)):
        found = find_initial_weights(f"{file}{mark}", "tiny", tmp_path)
        assert found == file
        new = network_of(wanted, TINY, seed=1)
        lines = load_initial_weights(new, wanted, found, average=bool(mark)).splitlines()
        assert torch.equal(new.state_dict()[HEAD][:2], source.state_dict()[HEAD])
        taken = "the moving average (EMA) in 'average'" if mark else "the weights in 'network'"
        assert lines[1].strip().startswith(f"taken: {taken}, not ")
        assert lines[-1].strip() == "new classes, with initial values: 1 (ring)"


def test_an_unfinished_run_without_an_average_or_a_description_says_so(tmp_path: Path) -> None:
    file, network, _ = unfinished(tmp_path, average=False)
    assert load_initial_weights(network, table(THINGS, STUFF), file) == f"the whole network from {file}"
    with pytest.raises(WeightsError, match=r"state\.pt: holds no moving average"):
        load_initial_weights(network, table(THINGS, STUFF), file, average=True)
    file.with_suffix(".json").unlink()
    with pytest.raises(
        WeightsError, match=r"whole network without the JSON that names its classes; put it at .*state\.json"
    ):
        load_initial_weights(network, table(THINGS, STUFF), file)


def test_a_published_checkpoint_is_converted_first(tmp_path: Path) -> None:
    torch.save({"state_dict": {"bbox_head.cls_branches.0.bias": torch.zeros(80)}}, tmp_path / "r50.pth")
    network = network_of(table(THINGS, STUFF), TINY, seed=0)
    with pytest.raises(WeightsError, match=r"python -m model\.weights\.official .*r50\.pth --model NAME --out .*r50"):
        load_initial_weights(network, table(THINGS, STUFF), tmp_path / "r50.pth")


def test_a_file_with_its_classes_renamed_in_the_json_follows_them(tmp_path: Path) -> None:
    """The way for a renamed class whose id has changed, too."""
    started(tmp_path, table(THINGS, STUFF))
    described = tmp_path / "model.json"
    renamed = described.read_text().replace('"key"', '"ring"')
    described.write_text(renamed)
    with pytest.raises(CheckpointError, match='changed on purpose, remove its last line, "sha256", and the comma'):
        load_checkpoint(tmp_path / "model.safetensors")
    described.write_text(renamed[: renamed.index(',\n "sha256"')] + "\n}")
    assert [category.name for category in load_checkpoint(tmp_path / "model.safetensors").categories.things] == [
        "coin",
        "ring",
    ]
    network = network_of(table({8: "ring"}, STUFF), TINY, seed=1)
    description = load_initial_weights(network, table({8: "ring"}, STUFF), tmp_path / "model.safetensors")
    assert "classes kept: 3 (ring, sky, table)" in description
