"""Prefect flows, which decide when and where the stages of dvc.yaml run; they know stages by name only."""

import warnings

# As it is imported, Prefect warns of a home that it cannot write; `process.preconditions` says what to do about it.
warnings.filterwarnings("ignore", "Failed to create the Prefect home directory")
