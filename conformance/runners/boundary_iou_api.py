"""boundary-iou-api, the code of the authors of boundary PQ, from its repository."""

from collections.abc import Mapping

from conformance.case import Bands, Case, Scores, Side
from conformance.compare import NotSupported
from conformance.files import Files
from conformance.runners.harness import Runner, main
from conformance.runners.pq_stat import Annotation, Pair, PQStat, score_pairs


def score(case: Case, files: Files, iou_type: str = "segm") -> Scores:
    """PQ, or boundary PQ for `iou_type="boundary"`."""
    from boundary_iou.coco_panoptic_api.evaluation import pq_compute, pq_compute_single_core

    folders = str(files.gt_folder), str(files.prediction_folder)

    def count(pairs: list[Pair], categories: Mapping[int, Annotation]) -> PQStat:
        return pq_compute_single_core(0, pairs, *folders, categories, iou_type, float(case.boundary_ratio))

    return score_pairs(case, files, count, pq_compute)


def bands(case: Case, files: Files) -> tuple[Bands, ...]:
    """The pixels of every segment in its band."""
    import numpy as np
    from boundary_iou.utils.boundary_utils import mask_to_boundary

    def count(side: Side | None) -> dict[int, int]:
        if side is None or case.topic == "invalid":
            raise NotSupported("masks have no lists")
        ids = np.array(side.ids)
        ratio = float(case.boundary_ratio)
        masks = {segment.id: (ids == segment.id).astype(np.uint8) for segment in side.segments}
        return {key: int(mask_to_boundary(mask, ratio).sum()) for key, mask in masks.items()}

    return tuple(Bands(0, count(image.ground_truth), count(image.prediction)) for image in case.images)


RUNNER = Runner(
    "boundary-iou-api",
    ("boundary_iou", "opencv-python-headless", "numpy"),
    {"pq": score, "boundary_pq": lambda case, files: score(case, files, "boundary"), "bands": bands},
)

if __name__ == "__main__":
    main(RUNNER)
