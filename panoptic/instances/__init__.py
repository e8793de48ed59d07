"""COCO's instance formats: run-length encoded masks, ground truth, results, detections."""
