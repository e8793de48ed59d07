"""Parts of training as their definitions read, the baseline of `benchmarks.training`.

Every mask is upsampled for its dice loss, every layer of every image matched separately, every matrix orthogonalized
separately; attention makes keys and values of all tokens, padding is masked where there is none, and the loader yields
a batch tensor by tensor, with float images and a mask per segment. `PANOPTIC_OPS=reference` in the environment adds
the plain torch reference of the operator.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network import attention, encoder, mask_decoder
from model.training import criterion, matcher, muon, sampling
from model.training.batch import Batch, Target, collate
from model.training.matcher import FIRST_MATCHING, MatchCosts, Matches, match
from model.training.muon import QUINTIC
from panoptic.data.reader import Sample
from panoptic.format.categories import CategoryTable


def use_naive_parts(put: Callable[[object, str, object], None] = setattr) -> None:
    """Replace the product's parts for the rest of this process, or for as long as `put` does."""
    for module, name, part in (
        (criterion, "enlarged_dice_loss", dice_loss_of_enlarged),
        (criterion, "match", match_one_by_one),
        (matcher, "match", match_one_by_one),
        (muon, "orthogonalize", orthogonalize_one_by_one),
        (attention, "few_queries", never),
        (mask_decoder, "few_queries", never),
        (encoder, "any_padding", always),
        (sampling, "collate", collate_tensors),
    ):
        assert hasattr(module, name)
        put(module, name, part)


class LooseBatch(Batch):
    """A batch that is unpacked before it is moved to the device."""

    def to(self, device: torch.device) -> Batch:
        """Move it to `device`, tensor by tensor."""
        targets = tuple(
            Target(**{name: value.to(device) for name, value in vars(target).items()}) for target in self.targets
        )
        return replace(self, images=self.images.to(device), targets=targets)


def collate_tensors(samples: Sequence[Sample], categories: CategoryTable, stuff: str) -> LooseBatch:
    """Unpack in the loader what `model.training.batch.collate` packs."""
    return LooseBatch(**vars(collate(samples, categories, stuff).to(torch.device("cpu"))))


def never(*_: object) -> bool:
    """Return False."""
    return False


def always(*_: object) -> bool:
    """Return True."""
    return True


def dice_loss_of_enlarged(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """Compute `model.training.losses.enlarged_dice_loss` by upsampling the masks."""
    enlarged = F.interpolate(masks, targets.shape[-2:], mode="bilinear", align_corners=False)
    overlaps = (enlarged * targets).sum((-2, -1))
    return 1 - 2 * overlaps / (enlarged.square().sum((-2, -1)) + eps + targets.square().sum((-2, -1)) + eps)


def match_one_by_one(
    class_logits: Tensor,
    boxes: Tensor | None,
    targets: Sequence[Target],
    costs: MatchCosts = FIRST_MATCHING,
    masks: Tensor | None = None,
    candidates: Sequence[int] | None = None,
) -> Matches:
    """Compute `model.training.matcher.match` with one transfer to the host for every layer of every image."""
    first, images, positions, queries, segments = 0, [], [], [], []
    for b, target in enumerate(targets):
        count = candidates[b] if candidates else class_logits.shape[2]
        found = []
        for layer in range(len(class_logits)):
            part = slice(layer, layer + 1), slice(b, b + 1), slice(count)
            own_boxes, own_masks = (None if values is None else values[part] for values in (boxes, masks))
            found.append(match(class_logits[part], own_boxes, [target], costs, own_masks))
        images.append(torch.full_like(found[0].images, b))
        positions.append(found[0].positions)
        queries.append(torch.cat([one.queries for one in found]))
        segments.append(torch.cat([one.segments for one in found]) + first)
        first += len(target.query_labels)
    return Matches(torch.cat(images), torch.cat(positions), torch.cat(queries, 1), torch.cat(segments, 1))


def orthogonalize_one_by_one(matrices: Sequence[Tensor], steps: int = 5) -> list[Tensor]:
    """Compute `model.training.muon.orthogonalize` by Newton-Schulz steps of the matrices themselves."""
    results = []
    a, b, c = QUINTIC
    for matrix in matrices:
        rows, columns = matrix.shape
        result = matrix.mT if rows > columns else matrix
        result = result / (result.norm() + 1e-7)
        for _ in range(steps):
            gram = result @ result.mT
            result = a * result + (b * gram + c * gram @ gram) @ result
        results.append(result.mT * (rows / columns) ** 0.5 if rows > columns else result)
    return results
