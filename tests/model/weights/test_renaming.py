"""Checkpoints with names of earlier code, or with unknown ones, through every published model."""

from collections.abc import Callable

import pytest
import torch

from benchmarks.official_parity.forward import read_entries
from model.weights.loading.layout import OfficialLayoutError
from model.weights.official.classes import ClassCounts
from model.weights.official.models import CONFIGS, expected_entries, recognize
from model.weights.official.names import UNUSED, network_layout
from model.weights.official.renaming import in_published_order
from tests.model.conftest import OFFICIAL
from tests.model.weights.test_official import FILES, numbered_state


@pytest.mark.parametrize("model", CONFIGS)
def test_entries_that_could_be_confused_are_in_the_published_order(model: str) -> None:
    """Those of one shape, with the same numbers and the same last part."""
    expected = expected_entries(CONFIGS[model], ClassCounts(80, 53))
    forms = network_layout(CONFIGS[model].backbone, expected).forms(expected)
    published = [entry.name for entry in read_entries(OFFICIAL / f"keys_{FILES[model]}.json")]

    def grouped(names: list[str]) -> dict[object, list[str]]:
        groups: dict[object, list[str]] = {}
        for name in names:
            parts = name.split(".")
            groups.setdefault((forms[name], parts[-1], *filter(str.isdigit, parts)), []).append(name)
        return groups

    assert grouped(in_published_order(forms)) == grouped([name for name in published if name in forms])


def test_names_before_december_2021_are_known() -> None:
    state = numbered_state("r50")
    parts = {
        "things_mask_head.": "mask_head.",
        "stuff_mask_head.": "mask_head2.",
        "cls_thing_branches.": "cls_branches2.",
    }
    earlier = dict(state)
    for part, old in parts.items():
        earlier = {name.replace(f"bbox_head.{part}", f"bbox_head.{old}"): tensor for name, tensor in earlier.items()}
    found = recognize(earlier, "r50", "file")
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[name], tensor) for name, tensor in state.items())
    assert not found.guessed
    reason = "its name before 2021-12-08"
    assert sorted(found.lines()) == [
        f"bbox_head.cls_branches2.* (8 entries) is read as bbox_head.cls_thing_branches.*: {reason}",
        f"bbox_head.mask_head.* (108 entries) is read as bbox_head.things_mask_head.*: {reason}",
        f"bbox_head.mask_head2.* (192 entries) is read as bbox_head.stuff_mask_head.*: {reason}",
    ]


RENAMES: dict[str, Callable[[str], str]] = {
    "heads": lambda name: name.replace("_mask_head.", "_decoder."),
    "numbers kept": lambda name: name.replace("cls_branches.", "fc_cls."),
    "tail": lambda name: name.replace(".attnen.", ".tail."),
    "attention": lambda name: name.replace(".q.", ".query.").replace(".k.", ".key.").replace(".v.", ".value."),
    "norms": lambda name: name.replace("head_norm", "ln"),
    "layers": lambda name: name.replace("transformer.", "detr.").replace("neck.", "fpn."),
}


@pytest.mark.parametrize("model", ["r50", "swin_l"])
@pytest.mark.parametrize("rename", RENAMES.values(), ids=RENAMES.keys())
def test_unknown_names_are_found_by_shape_and_order(rename: Callable[[str], str], model: str) -> None:
    state = numbered_state(model)
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(tuple(UNUSED))}
    renamed = {rename(name): tensor for name, tensor in kept.items()}
    found = recognize(renamed, model, "file")
    assert all(torch.equal(found.state[name], tensor) for name, tensor in kept.items())
    assert found.guessed == {rename(name): name for name in kept if rename(name) != name}
    assert all("guessed by shape and order, as the name is unknown" in line for line in found.lines())
    assert sum(int(line.partition("(")[2].partition(" ")[0]) for line in found.lines()) == len(found.guessed)


def test_an_entry_too_many_or_too_few_is_no_guess() -> None:
    for change in ({"bbox_head.other.weight": torch.zeros(256)}, {}):
        state = numbered_state("r50")
        state["neck.norm.gn.weight"] = state.pop("neck.convs.0.gn.weight")
        if not change:
            del state["neck.convs.1.gn.weight"]
        with pytest.raises(OfficialLayoutError, match=r"neck\.convs\.(0|\{0,1\})\.gn\.weight.*: missing"):
            recognize(state | change, "r50", "file")


def test_both_names_of_one_part_are_not_mixed() -> None:
    state = numbered_state("r50")
    state["bbox_head.mask_head.attnen.q.bias"] = torch.zeros(256)
    with pytest.raises(OfficialLayoutError, match=r"bbox_head\.mask_head\.attnen\.q\.bias: unknown"):
        recognize(state, "r50", "file")
