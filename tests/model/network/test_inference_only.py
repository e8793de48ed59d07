"""Without auxiliary outputs the last masks, classes and boxes are the same, and no others are computed."""

from dataclasses import replace

import pytest
import torch

from model.network.config import NetworkConfig
from model.network.mask_decoder import CHUNK, MaskDecoder, MaskReader
from model.network.outputs import PanopticOutput
from model.network.queries import top_queries
from tests.model.network.tiny_network import SHAPES, TINY, random_memory, random_tensor, tiny_network

DEEP = replace(TINY, thing_mask_layers=2, stuff_mask_layers=3)
VERSION_1 = replace(TINY, stuff="joint", classes_from="masks", thing_mask_layers=3)
DETR = replace(TINY, stuff="joint", attention="dense", mask_head="fpn")
D_DETR_MS = replace(TINY, stuff="joint", mask_head="fpn")


@torch.no_grad()
def both(config: NetworkConfig, mask_layer: int) -> tuple[PanopticOutput, PanopticOutput]:
    network, images = tiny_network(config).eval(), random_tensor(2, 3, 48, 64)
    select = top_queries(5)
    return network(images, None, select, mask_layer), network(images, None, select, mask_layer, auxiliary=False)


@pytest.mark.parametrize(
    ("config", "mask_layer"),
    [(DEEP, 0), (DEEP, 1), (DEEP, 2), (DEEP, 3), (VERSION_1, 0), (VERSION_1, 2), (DETR, 0), (D_DETR_MS, 0)],
    ids=["tail", "block 1", "block 2", "block 3", "version 1", "version 1, block 2", "detr", "d_detr_ms"],
)
def test_the_last_outputs_are_the_same(config: NetworkConfig, mask_layer: int) -> None:
    whole, last = both(config, mask_layer)
    assert torch.equal(last.selection.indices, whole.selection.indices)
    assert torch.equal(last.selection.labels, whole.selection.labels)
    torch.testing.assert_close(last.location.boxes[-1], whole.location.boxes[-1])
    for image in range(2):
        read, expected = (one.query_masks.masks[-1, image, one.selection.mask_indices[image]] for one in (last, whole))
        torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-4)
    if whole.stuff is not None and whole.stuff_logits is not None:
        assert last.stuff is not None
        assert last.stuff_logits is not None
        torch.testing.assert_close(last.stuff.masks, whole.stuff.masks[-1:], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(last.stuff_logits, whole.stuff_logits[-1:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [DEEP, VERSION_1], ids=["version 2", "version 1"])
def test_only_the_last_outputs_are_there(config: NetworkConfig) -> None:
    _, last = both(config, 0)
    assert last.query_masks.masks.shape == (1, 2, 5, 12, 16)
    assert len(last.query_masks.queries) == 1
    logits = last.location.class_logits if last.query_class_logits is None else last.query_class_logits
    assert logits is not None
    assert len(logits) == 1


def test_blocks_hold_no_attention_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the part that is read off makes masks."""
    made: list[int] = []
    masks = MaskReader.join_levels

    def counted(self: MaskReader, scores: torch.Tensor, shapes: tuple[tuple[int, int], ...]) -> torch.Tensor:
        made.append(scores.shape[2])
        return masks(self, scores, shapes)

    monkeypatch.setattr(MaskReader, "join_levels", counted)
    decoder = MaskDecoder(TINY, blocks=3, self_attention=True)
    count = CHUNK + 3
    with torch.no_grad():
        decoder.decode_masks(random_tensor(2, count, TINY.channels), random_memory(), auxiliary=False)
    assert made == [CHUNK, 3]


@torch.no_grad()
def test_no_query_has_no_mask() -> None:
    decoder = MaskDecoder(TINY, blocks=1, self_attention=False)
    output = decoder.decode_masks(random_tensor(2, 0, TINY.channels), random_memory(), auxiliary=False)
    assert output.masks.shape == (1, 2, 0, *SHAPES[0])
