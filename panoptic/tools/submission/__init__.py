"""Results packed for COCO's evaluation server, and checked as it would."""
