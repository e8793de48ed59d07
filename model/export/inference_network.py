"""The network in the form in which it is exported: images in, and flat, named tensors for merging out."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.inference.post_processing import selected_queries
from model.network.outputs import MaskOutput, PanopticOutput
from model.network.segmenter import Segmenter

INPUT = "images"


@dataclass(frozen=True)
class Output:
    """One output of the exported network: B images, N selected queries, S stuff classes, masks of h x w."""

    name: str
    shape: str
    meaning: str


QUERY_OUTPUTS = (
    Output("labels", "(B, N) int64", "class of each selected query as an index of `categories`, best score first"),
    Output("probabilities", "(B, N) float32", "probability of that class, 0..1"),
    Output(
        "masks",
        "(B, N, h, w) float32",
        "mask of each selected query, not negative; above mask_threshold inside",
    ),
)
BOXES = Output(
    "boxes", "(B, N, 4) float32", "box of each selected query as center x, center y, width, height; 0..1 of the image"
)
STUFF_OUTPUTS = (
    Output(
        "stuff_probabilities",
        "(B, S) float32",
        "probability that each stuff class is in the image, 0..1",
    ),
    Output("stuff_masks", "(B, S, h, w) float32", "mask of each stuff class"),
)
EMBEDDINGS = Output("queries", "(B, N, C) float32", "vector of each selected query, similar for similar segments")
STUFF_EMBEDDINGS = Output("stuff_queries", "(B, S, C) float32", "vector of the query of each stuff class")


class InferenceNetwork(nn.Module):
    """Network from normalized images (B, 3, H, W) without padding to the tensors of `outputs`, in that order."""

    def __init__(self, network: Segmenter, mask_layer: int = 0) -> None:
        super().__init__()
        self.network = network
        self.mask_layer = mask_layer
        config = network.config
        self.has_boxes = network.has_boxes
        self.outputs = (
            *QUERY_OUTPUTS,
            *([BOXES] if self.has_boxes else []),
            *(STUFF_OUTPUTS if config.stuff_queries == "decoupled" else []),
            EMBEDDINGS,
            *([STUFF_EMBEDDINGS] if config.stuff_queries == "decoupled" else []),
        )
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors of `outputs`."""
        output = self.network.segment(images, self.mask_layer)
        selection = output.selection
        found = [selection.labels, selection.scores, output.query_masks.final()]
        if self.has_boxes:
            found.append(output.location.boxes[-1].gather(1, selection.indices[..., None].expand(-1, -1, 4)))
        stuff = output.stuff
        if stuff is not None and output.stuff_logits is not None:
            found += [output.stuff_logits[-1].sigmoid(), stuff.final()]
        found.append(selected_queries(output))
        if stuff is not None:
            found.append(stuff.queries[-1])
        return tuple(found)


def as_network_output(num_things: int, tensors: Mapping[str, Tensor]) -> PanopticOutput:
    """Rebuild what post-processing reads from the exported network's named outputs; the rest is empty."""
    stuff = None
    if "stuff_masks" in tensors:
        stuff = MaskOutput(tensors["stuff_masks"][None], tensors.get("stuff_queries", torch.empty(0))[None])
    return PanopticOutput.of_masks(
        num_things,
        tensors["labels"],
        tensors["probabilities"],
        tensors["masks"],
        tensors.get("queries", torch.empty(0)),
        boxes=tensors.get("boxes"),
        stuff=stuff,
        stuff_logits=torch.logit(tensors["stuff_probabilities"])[None] if stuff else None,
    )
