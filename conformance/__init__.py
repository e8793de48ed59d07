"""Cases with exact values that any implementation of panoptic quality can be checked against; see README.md."""
