"""vernier, in Rust; as it is by default, in its mode `corrected`."""

import json

from conformance.case import Case, Mean, Quality, Scores
from conformance.compare import NotSupported
from conformance.files import Files, segments_info
from conformance.runners.harness import Runner, main


def score(case: Case, files: Files, boundary: bool = False) -> Scores:
    """PQ or boundary PQ."""
    import numpy as np
    from vernier.panoptic import Dataset, Evaluator, Predictions

    maps: tuple[dict[int, np.ndarray], ...] = {}, {}
    lists: tuple[dict[int, object], ...] = {}, {}
    for image in case.images:
        if isinstance(image.id, str):
            raise NotSupported("image ids are integers")
        for side, ids, listed in zip((image.ground_truth, image.prediction), maps, lists, strict=True):
            if side is not None:
                ids[image.id], listed[image.id] = np.array(side.ids, np.uint32), segments_info(side)
    categories = json.dumps(json.loads(files.gt_json.read_text())["categories"]).encode()
    gt = Dataset.from_arrays(maps[0], json.dumps(lists[0]).encode(), categories)
    predictions = Predictions.from_arrays(maps[1], json.dumps(lists[1]).encode())
    evaluator = Evaluator(boundary=boundary, dilation_ratio=float(case.boundary_ratio))
    found = evaluator.evaluate(gt, predictions)
    classes = {
        key: Quality(row.n_tp, row.n_fp, row.n_fn, row.iou_sum, row.pq, row.sq, row.rq)
        for key, row in found.per_class().items()
        if row.n_tp + row.n_fp + row.n_fn > 0
    }
    means = {
        "all": _mean(found.pq, found.sq, found.rq) if found.n else None,
        "things": _mean(found.pq_things, found.sq_things, found.rq_things),
        "stuff": _mean(found.pq_stuff, found.sq_stuff, found.rq_stuff),
    }
    return Scores(classes, means)


def _mean(pq: float | None, sq: float | None, rq: float | None) -> Mean | None:
    return None if pq is None or sq is None or rq is None or pq != pq else Mean(pq, sq, rq)


RUNNER = Runner(
    "vernier",
    ("vernier", "numpy"),
    {"pq": score, "boundary_pq": lambda case, files: score(case, files, boundary=True)},
)

if __name__ == "__main__":
    main(RUNNER)
