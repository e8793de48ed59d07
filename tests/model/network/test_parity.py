"""Every recorded output of the published R50 network, reproduced from its weight rule."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from model.merging import MergingSettings, PanopticPrediction, PictureSizes, pixel_boxes, predict_panoptic
from model.network.layers import inverse_sigmoid
from model.network.outputs import PanopticOutput
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.positions import padding_mask, resize_mask
from model.network.selection import top_queries
from tests.fixtures.official import rules
from tests.model.conftest import OFFICIAL

Array = npt.NDArray[np.float64]
CASE = rules.CASE_A
SIZES = tuple(PictureSizes(CASE.batch, *pair) for pair in zip(CASE.valid, CASE.original, strict=True))
PICTURES = range(len(SIZES))
BACKBONE_ATOL, ATOL, BOX_ATOL = 5e-6, 3e-4, 5e-5


@dataclass(frozen=True)
class Computed:
    """One forward pass with its intermediate results."""

    features: tuple[Tensor, ...]
    levels: list[Tensor]
    positions: Tensor
    output: PanopticOutput
    predictions: tuple[PanopticPrediction, ...]


@pytest.fixture(scope="module")
def recorded() -> Mapping[str, Array]:
    with np.load(OFFICIAL / "fwd_r50_a.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def computed(official_network: PanopticSegFormer) -> Computed:
    images = torch.from_numpy(rules.make_input(CASE))
    with torch.no_grad():
        features = official_network.backbone(images)
        levels = official_network.neck(features)
        full = padding_mask(CASE.valid, *CASE.batch, device=images.device)
        masks = [resize_mask(full, (level.shape[-2], level.shape[-1])) for level in levels]
        positions = official_network.encoder.positions(masks)
        output = official_network(images, CASE.valid, top_queries(100))
    predictions = predict_panoptic(output, SIZES, MergingSettings(), crop_padding=False)
    return Computed(features, levels, positions, output, predictions)


def stats(values: Tensor) -> Array:
    """Mean, unbiased deviation, mean absolute value, extremes and l2 norm, as recorded."""
    x = values.double()
    parts = (x.mean(), x.std(), x.abs().mean(), x.min(), x.max(), x.norm())
    return np.array([part.item() for part in parts])


def close(actual: Tensor | Array | rules.Float32, expected: Array, atol: float = ATOL) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-5, atol=atol)


def test_backbone(computed: Computed, recorded: Mapping[str, Array]) -> None:
    for level, feature in enumerate(computed.features):
        step = max(1, feature.shape[1] // 16)
        close(feature[:, ::step, ::7, ::7], recorded[f"backbone{level}_slice"], BACKBONE_ATOL)
        close(stats(feature), recorded[f"backbone{level}_stats"], BACKBONE_ATOL)


def test_neck(computed: Computed, recorded: Mapping[str, Array]) -> None:
    for level, feature in enumerate(computed.levels):
        assert feature.shape == tuple(recorded[f"neck{level}_shape"])
        close(feature[:, ::16, ::5, ::5], recorded[f"neck{level}_slice"], 2e-5)
        close(stats(feature), recorded[f"neck{level}_stats"], 2e-5)


def test_encoder(computed: Computed, recorded: Mapping[str, Array]) -> None:
    memory = computed.output.memory
    count = int(np.prod(recorded["memory_mask_shape"]))
    mask = np.unpackbits(recorded["memory_mask"].astype(np.uint8))[:count].reshape(memory.padding_mask.shape)
    np.testing.assert_array_equal(memory.padding_mask, mask.astype(bool))
    close(computed.positions[:, ::29, ::16], recorded["memory_pos_slice"], 1e-6)
    close(stats(computed.positions), recorded["memory_pos_stats"], 1e-6)
    close(memory.tokens[:, ::17, ::16], recorded["memory_slice"])
    close(stats(memory.tokens), recorded["memory_stats"])
    close(stats(memory.tokens[~memory.padding_mask]), recorded["memory_valid_stats"])


def test_location_decoder(computed: Computed, recorded: Mapping[str, Array]) -> None:
    location = computed.output.location
    close(location.initial_reference, recorded["init_reference"], 1e-6)
    close(location.states[:, :, ::23, ::16], recorded["hs_slice"])
    close(np.stack([stats(states) for states in location.states]), recorded["hs_stats"])
    close(location.class_logits, recorded["cls_scores"])
    close(location.boxes_cxcywh, recorded["bbox_preds"], BOX_ATOL)
    entering = inverse_sigmoid(location.boxes_cxcywh[-2])[:, ::10]
    close(entering, recorded["reference_last_unsigmoid_slice"])


@pytest.mark.parametrize("picture", PICTURES)
def test_selected_queries(computed: Computed, recorded: Mapping[str, Array], picture: int) -> None:
    order = recorded_order(computed, recorded, picture)
    selection, location = computed.output.selection, computed.output.location
    boxes = pixel_boxes(location.boxes_cxcywh[-1, picture, selection.indices[picture]], SIZES[picture])
    expected = recorded[f"img{picture}_top_boxes"]
    close(boxes[order], expected[:, :4], BOX_ATOL * max(CASE.original[picture]))
    close(selection.scores[picture, order], expected[:, 4])
    ranked = selection.scores[picture].sort(descending=True).values
    close((ranked[:-1] - ranked[1:]).min(), recorded[f"img{picture}_top_min_gap"], 1e-6)


@pytest.mark.parametrize("picture", PICTURES)
def test_thing_masks(computed: Computed, recorded: Mapping[str, Array], picture: int) -> None:
    order = recorded_order(computed, recorded, picture)
    things = computed.output.things
    check_masks(things.masks[:, picture, order], recorded, f"img{picture}_things", 20)
    check_queries(things.queries[:, picture, order], recorded, f"img{picture}_things", 20)


@pytest.mark.parametrize("picture", PICTURES)
def test_stuff_masks(computed: Computed, recorded: Mapping[str, Array], picture: int) -> None:
    stuff = computed.output.stuff
    check_masks(stuff.masks[:, picture], recorded, f"img{picture}_stuff", 53)
    check_queries(stuff.queries[:, picture], recorded, f"img{picture}_stuff", 53)
    close(computed.output.stuff_logits[-1, picture].sigmoid(), recorded[f"img{picture}_stuff_prob"])


@pytest.mark.parametrize("picture", PICTURES)
def test_panoptic_map(computed: Computed, recorded: Mapping[str, Array], picture: int) -> None:
    prediction = computed.predictions[picture]
    categories = json.loads((OFFICIAL / "category_ids.json").read_text())
    category_of_id, instance_of_id = [0], [0]
    for segment in prediction.segments:
        category_of_id.append(categories[segment.label][0])
        instance_of_id.append(max(instance_of_id) + 1 if segment.is_thing else 0)
    for lookup, name in ((category_of_id, "category"), (instance_of_id, "instance")):
        equal = np.array(lookup)[prediction.ids] == recorded[f"img{picture}_panoptic_{name}_id"]
        assert equal.mean() >= 0.999


@pytest.mark.parametrize("picture", PICTURES)
def test_instances(computed: Computed, recorded: Mapping[str, Array], picture: int) -> None:
    instances = computed.predictions[picture].instances
    boxes = recorded[f"img{picture}_result_boxes"]
    labels = recorded[f"img{picture}_result_labels"]
    areas = recorded[f"img{picture}_result_seg_area"]
    close(instances.scores, boxes[:, 4])
    for box, label, area in zip(boxes, labels, areas, strict=True):
        distance = np.abs(instances.boxes_xyxy - box[:4]).max(axis=1) + (instances.labels != label) * 1e6
        position = int(distance.argmin())
        assert distance[position] < BOX_ATOL * max(CASE.original[picture])
        assert abs(int(instances.masks[position].sum()) - area) <= 2
        assert instances.scores[position] == pytest.approx(box[4], abs=ATOL)


def recorded_order(computed: Computed, recorded: Mapping[str, Array], picture: int) -> list[int]:
    """Our ranks of the recorded (query, label) pairs; near ties may come in another order."""
    selection = computed.output.selection
    pairs = list(zip(selection.indices[picture].tolist(), selection.labels[picture].tolist(), strict=True))
    queries = recorded[f"img{picture}_top_query_index"].tolist()
    labels = recorded[f"img{picture}_top_labels"].tolist()
    assert set(pairs) == set(zip(queries, labels, strict=True))
    return [pairs.index(pair) for pair in zip(queries, labels, strict=True)]


def check_masks(masks: Tensor, recorded: Mapping[str, Array], name: str, first: int) -> None:
    """Masks (blocks and tail, N, h1, w1) against all recordings of them."""
    flat = masks.flatten(2)
    close(flat[-1, :first], recorded[f"{name}_mask_final"])
    close(flat[:-1, :first, ::7], recorded[f"{name}_mask_inter"])
    close(np.stack([stats(part) for part in flat]), recorded[f"{name}_mask_stats"])
    close((flat > 0.5).double().mean((1, 2)), recorded[f"{name}_mask_frac_gt_half"], 1e-3)


def check_queries(queries: Tensor, recorded: Mapping[str, Array], name: str, first: int) -> None:
    """Queries (blocks, N, C) against all recordings of them."""
    close(queries[-1, :first, ::8], recorded[f"{name}_query_last"])
    close(np.stack([stats(part) for part in queries]), recorded[f"{name}_query_stats"])
