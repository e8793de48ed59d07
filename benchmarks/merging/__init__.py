"""The time of the merging methods alone, on what a network has found."""
