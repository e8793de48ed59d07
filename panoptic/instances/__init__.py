"""COCO's instance format: RLE masks, ground truth, results, detection JSON."""
