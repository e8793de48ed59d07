"""Names of the neck's and the heads' entries in the published checkpoints and in our network."""

import re

_TRANSFORMER = "bbox_head.transformer"
_ENCODER_LAYER = r"^encoder\.layers\.(\d+)\."
_LOCATION_LAYER = r"^location_decoder\.layers\.(\d+)\."
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^neck\.(projections|extra)\.(\d+)\.0\.", r"neck.\1.\2.conv."),
    (r"^neck\.(projections|extra)\.(\d+)\.1\.", r"neck.\1.\2.gn."),
    (r"^neck\.projections\.", "neck.convs."),
    (r"^neck\.extra\.", "neck.extra_convs."),
    (r"^encoder\.level_embedding$", f"{_TRANSFORMER}.level_embeds"),
    (r"\.feedforward\.expand\.", ".ffns.0.layers.0.0."),
    (r"\.feedforward\.contract\.", ".ffns.0.layers.1."),
    (rf"{_ENCODER_LAYER}attention\.", rf"{_TRANSFORMER}.encoder.layers.\1.attentions.0."),
    (rf"{_ENCODER_LAYER}norm\.", rf"{_TRANSFORMER}.encoder.layers.\1.norms.0."),
    (rf"{_ENCODER_LAYER}feedforward\.norm\.", rf"{_TRANSFORMER}.encoder.layers.\1.norms.1."),
    (_ENCODER_LAYER, rf"{_TRANSFORMER}.encoder.layers.\1."),
    (rf"{_LOCATION_LAYER}self_attention\.", rf"{_TRANSFORMER}.decoder.layers.\1.attentions.0.attn."),
    (rf"{_LOCATION_LAYER}self_norm\.", rf"{_TRANSFORMER}.decoder.layers.\1.norms.0."),
    (rf"{_LOCATION_LAYER}cross_attention\.", rf"{_TRANSFORMER}.decoder.layers.\1.attentions.1."),
    (rf"{_LOCATION_LAYER}cross_norm\.", rf"{_TRANSFORMER}.decoder.layers.\1.norms.1."),
    (rf"{_LOCATION_LAYER}feedforward\.norm\.", rf"{_TRANSFORMER}.decoder.layers.\1.norms.2."),
    (_LOCATION_LAYER, rf"{_TRANSFORMER}.decoder.layers.\1."),
    (r"^queries\.reference_points\.", f"{_TRANSFORMER}.reference_points."),
    (r"^queries\.embedding\.", "bbox_head.query_embedding."),
    (r"^location_decoder\.class_heads\.", "bbox_head.cls_branches."),
    (r"^location_decoder\.place_heads\.", "bbox_head.reg_branches."),
    (r"^query_masks\.", "bbox_head.things_mask_head."),
    (r"^stuff_masks\.query_embedding\.", "bbox_head.stuff_query."),
    (r"^stuff_masks\.class_heads\.", "bbox_head.cls_stuff_branches."),
    (r"^stuff_masks\.decoder\.", "bbox_head.stuff_mask_head."),
    (r"\.levels\.0\.", ".linear_l1.0."),
    (r"\.levels\.1\.", ".linear_l2.0."),
    (r"\.levels\.2\.", ".linear_l3.0."),
    (r"\.join\.", ".linear.0."),
    (r"_mask_head\.tail\.", "_mask_head.attnen."),
    (r"(_mask_head\.blocks\.\d+)\.cross\.", r"\1.attn."),
    (r"(_mask_head\.blocks\.\d+)\.v\.", r"\1.attn.v."),
    (r"(_mask_head\.blocks\.\d+)\.output\.", r"\1.attn.proj."),
    (r"(_mask_head\.blocks\.\d+)\.cross_norm\.", r"\1.head_norm1."),
    (r"(_mask_head\.blocks\.\d+)\.mlp_norm\.", r"\1.head_norm2."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
    (r"\.self_attention\.norm\.", ".norm3."),
    (r"\.self_attention\.output\.", ".self_attention.proj."),
)


def official_head_key(key: str) -> str:
    """Published name of an entry outside the backbone; an entry without one keeps its own."""
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key
