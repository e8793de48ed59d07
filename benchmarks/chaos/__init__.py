"""Disturb the pipeline at chosen moments, and compare what it writes in the end with an undisturbed run."""
