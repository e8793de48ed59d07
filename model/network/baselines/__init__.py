"""Parts of the networks that the papers compare with: DETR and D-DETR-MS."""
