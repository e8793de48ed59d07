"""Parts of training written as their definitions read: what `benchmarks.training` measures the product against.

Every mask is enlarged for its dice loss, every layer of every image matched by itself, every matrix made orthogonal
by itself; attention makes keys and values of all tokens, padding is masked where there is none, and a batch comes from
its loader tensor by tensor, images as floats and a mask for every segment. The operator is its plain torch
reference: `PANOPTIC_OPS=reference` in the environment.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network import encoder, mask_decoder
from model.training import criterion, matcher, muon, sampling
from model.training.batch import Batch, Target, collate
from model.training.matcher import FIRST_MATCHING, MatchCosts, Matches, match
from model.training.muon import QUINTIC
from panoptic.data.reader import Sample
from panoptic.format.categories import CategoryTable


def use_straightforward_parts(put: Callable[[object, str, object], None] = setattr) -> None:
    """Put them in the place of the product's for the rest of this process, or for as long as `put` does."""
    for module, name, part in (
        (criterion, "enlarged_dice_loss", dice_loss_of_enlarged),
        (criterion, "match", match_one_by_one),
        (matcher, "match", match_one_by_one),
        (muon, "orthogonalize", orthogonalize_one_by_one),
        (mask_decoder, "few_queries", never),
        (encoder, "any_padding", always),
        (sampling, "collate", collate_tensors),
    ):
        assert hasattr(module, name)
        put(module, name, part)


class LooseBatch(Batch):
    """A batch that is made before it comes to the device."""

    def to(self, device: torch.device) -> Batch:
        """On `device`, tensor by tensor."""
        targets = tuple(
            Target(**{name: value.to(device) for name, value in vars(target).items()}) for target in self.targets
        )
        return replace(self, images=self.images.to(device), targets=targets)


def collate_tensors(samples: Sequence[Sample], categories: CategoryTable, stuff: str) -> LooseBatch:
    """What `model.training.batch.collate` packs, made into a batch by the loader."""
    return LooseBatch(**vars(collate(samples, categories, stuff).to(torch.device("cpu"))))


def never(*_: object) -> bool:
    """No."""
    return False


def always(*_: object) -> bool:
    """Yes."""
    return True


def dice_loss_of_enlarged(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """As `model.training.losses.enlarged_dice_loss`, and the enlarged masks are made."""
    enlarged = F.interpolate(masks, targets.shape[-2:], mode="bilinear", align_corners=False)
    overlaps = (enlarged * targets).sum((-2, -1))
    return 1 - 2 * overlaps / (enlarged.square().sum((-2, -1)) + eps + targets.square().sum((-2, -1)) + eps)


def match_one_by_one(
    class_logits: Tensor,
    places: Tensor | None,
    targets: Sequence[Target],
    costs: MatchCosts = FIRST_MATCHING,
    masks: Tensor | None = None,
    candidates: Sequence[int] | None = None,
) -> Matches:
    """As `model.training.matcher.match`, one transfer to the host for every layer of every image."""
    first, images, slots, queries, segments = 0, [], [], [], []
    for b, target in enumerate(targets):
        count = candidates[b] if candidates else class_logits.shape[2]
        found = []
        for layer in range(len(class_logits)):
            part = slice(layer, layer + 1), slice(b, b + 1), slice(count)
            own_places, own_masks = (None if values is None else values[part] for values in (places, masks))
            found.append(match(class_logits[part], own_places, [target], costs, own_masks))
        images.append(torch.full_like(found[0].images, b))
        slots.append(found[0].slots)
        queries.append(torch.cat([one.queries for one in found]))
        segments.append(torch.cat([one.segments for one in found]) + first)
        first += len(target.query_labels)
    return Matches(torch.cat(images), torch.cat(slots), torch.cat(queries, 1), torch.cat(segments, 1))


def orthogonalize_one_by_one(matrices: Sequence[Tensor], steps: int = 5) -> list[Tensor]:
    """As `model.training.muon.orthogonalize`, by Newton-Schulz steps of the matrices themselves."""
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
