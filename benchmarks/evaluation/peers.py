"""Other evaluators, each of which scores the same files as it is documented, from files to numbers."""

import io
import json
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.workload import Workload
from panoptic.evaluation.dataset import PanopticFiles

Scores = Mapping[str, float]
PQ, BOUNDARY_PQ, AP = "PQ", "boundary PQ", "AP of masks"
IOU_TYPES: tuple[Literal["bbox"], Literal["segm"]] = ("bbox", "segm")  # the last gives the AP that is compared


@dataclass(frozen=True)
class Peer:
    """A measurement of another evaluator; `ours` names the one of this project that does the same."""

    name: str
    scores: str
    ours: str
    score: Callable[[Workload], Scores]

    @property
    def label(self) -> str:
        return f"{self.scores} by {self.name}"

    @property
    def package(self) -> str:
        """The name of what is installed."""
        return "boundary_iou" if self.name == "boundary-iou-api" else self.name


def _hotcoco(workload: Workload) -> Scores:
    from hotcoco.panoptic import PanopticEval

    gt, prediction = workload.ground_truth, workload.prediction
    evaluation = PanopticEval(
        gt.panoptic_json, prediction.panoptic_json, gt_folder=gt.masks, pred_folder=prediction.masks
    )
    evaluation.evaluate()
    return {PQ: float(evaluation.results()["All"]["pq"])}


def _vernier(workload: Workload, boundary: bool = False) -> Scores:
    """Run vernier with its defaults, and decode the maps by its own function."""
    from vernier.panoptic import Dataset, Evaluator, Predictions, decode_label_map_png

    def read(files: PanopticFiles) -> tuple[dict[int, NDArray[np.uint32]], bytes, bytes]:
        document = json.loads(files.panoptic_json.read_bytes())
        entries = {entry["image_id"]: entry for entry in document["annotations"]}
        maps = {key: decode_label_map_png(files.masks / entry["file_name"]) for key, entry in entries.items()}
        segments = {key: entry["segments_info"] for key, entry in entries.items()}
        return maps, json.dumps(segments).encode(), json.dumps(document["categories"]).encode()

    maps, segments, categories = read(workload.ground_truth)
    predictions = Predictions.from_arrays(*read(workload.prediction)[:2])
    found = Evaluator(boundary=boundary).evaluate(Dataset.from_arrays(maps, segments, categories), predictions)
    return {BOUNDARY_PQ if boundary else PQ: found.pq}


def _boundary_iou_api(workload: Workload) -> Scores:
    """Score in this process: the function for all images would start one for every core."""
    from boundary_iou.coco_panoptic_api.evaluation import pq_compute_single_core

    gt, prediction = workload.ground_truth, workload.prediction
    documents = [json.loads(files.panoptic_json.read_bytes()) for files in (gt, prediction)]
    categories = {entry["id"]: entry for entry in documents[0]["categories"]}
    pairs = list(zip(*(document["annotations"] for document in documents), strict=True))
    with redirect_stdout(io.StringIO()):
        stat = pq_compute_single_core(0, pairs, str(gt.masks), str(prediction.masks), categories, "boundary", 0.02)
    return {BOUNDARY_PQ: float(stat.pq_average(categories, None)[0]["pq"])}


def _pycocotools(workload: Workload) -> Scores:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        ground_truth = COCO(str(workload.gt_instances))
        results = ground_truth.loadRes(str(workload.predicted_instances))
        for iou_type in IOU_TYPES:
            evaluation = COCOeval(ground_truth, results, iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
    return {AP: float(evaluation.stats[0])}


def _hotcoco_instances(workload: Workload) -> Scores:
    from hotcoco import COCO, COCOeval

    ground_truth = COCO(workload.gt_instances)
    results = ground_truth.load_res(str(workload.predicted_instances))
    for iou_type in IOU_TYPES:
        evaluation = COCOeval(ground_truth, results, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
    assert evaluation.eval is not None, "it has just been accumulated"
    precision = evaluation.eval["precision"][..., 0, -1]  # its summary would be printed
    return {AP: float(precision[precision > -1].mean())}


PEERS: Mapping[str, Peer] = {
    "hotcoco": Peer("hotcoco", "PQ", "pq", _hotcoco),
    "vernier": Peer("vernier", "PQ", "pq", _vernier),
    "vernier_boundary": Peer(
        "vernier", "PQ and boundary PQ", "pq_and_boundary", lambda workload: _vernier(workload, boundary=True)
    ),
    "boundary_iou_api": Peer("boundary-iou-api", "PQ and boundary PQ", "pq_and_boundary", _boundary_iou_api),
    "ap_pycocotools": Peer("pycocotools", "AP of masks and boxes", "ap", _pycocotools),
    "ap_hotcoco": Peer("hotcoco", "AP of masks and boxes", "ap", _hotcoco_instances),
}
