"""FiftyOne's own matching of things compared with ours: the same images, two independent programs.

`evaluate_detections` sorts the predictions of an image by confidence and gives each the best unmatched ground truth
thing of its class with an IoU of at least 0.5. Panoptic segments do not overlap, so each is in at most one pair above
that, and the counts agree except where PQ has other rules: void of the ground truth is left out of the union,
predictions mostly on void or crowd are ignored, and an IoU of exactly 0.5 is not a match.
"""

from collections import Counter
from types import ModuleType

from pipelines.browse.labels import NamedRun, filled_things, sample_key
from pipelines.browse.loading import Dataset

_KEY = "coco_masks"
_MASKS = "ground_truth_masks"


def agreement_table(fiftyone: ModuleType, dataset: Dataset, run: NamedRun) -> str:
    """The counts of things on the clean images by both, and the segments on which they differ, counted by outcome.

    `run` is the dataset's first, which has the masks of the ground truth: the dataset has outlines.
    """
    masks = {
        sample_key(entry): filled_things(fiftyone, entry, run, "ground_truth", {})
        for entry in run.run.entries()
        if entry.severity == 0
    }
    dataset.set_values(_MASKS, masks, key_field="key")
    clean = dataset.match(fiftyone.ViewField("severity") == 0)
    results = clean.evaluate_detections(
        "prediction", gt_field=_MASKS, method="coco", eval_key=_KEY, use_masks=True, iou=0.5, classwise=True
    )
    assert results is not None
    theirs, ours, differing = Counter[str](), Counter[str](), Counter[str]()
    for sample in clean.select_fields([_MASKS, "prediction"]):
        for side, wrong in ((_MASKS, "fn"), ("prediction", "fp")):
            for label in sample[side].detections:
                mine = {"matched": "tp", "crowd": "none", "ignored": "none"}.get(label["outcome"], wrong)
                found = "none" if label.get_attribute_value("iscrowd", 0) else label[_KEY]
                if side == _MASKS or mine != "tp":
                    ours[mine] += 1
                if side == _MASKS or found != "tp":
                    theirs[found] += 1
                if mine != found:
                    differing[f"{side} '{label['outcome']}', by FiftyOne {found} (our IoU {label['iou']:.3f})"] += 1
    dataset.delete_evaluation(_KEY)
    dataset.delete_sample_field(_MASKS)
    lines = [f"things on {clean.count()} images   {'tp':>6}{'fp':>6}{'fn':>6}"]
    for title, counts in (("ours", ours), ("FiftyOne", theirs)):
        lines.append(f"{title:22}" + "".join(f"{counts[outcome]:>6}" for outcome in ("tp", "fp", "fn")))
    lines += [f"  {count} x {what}" for what, count in differing.most_common()]
    lines += [] if differing else ["every thing has the same outcome in both"]
    return "\n".join(lines)
