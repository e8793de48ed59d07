"""COCO's instance formats: RLE masks, ground truth, results, detections."""
