"""Prefect flows, which decide when and where the stages of dvc.yaml run; they know stages by name only."""

import sys
import warnings

from pipelines.process.ending import end_at_once

if sys.argv[:1] == ["-m"]:  # a command that still imports; those that start others or write much handle signals then
    end_at_once()

# As it is imported, Prefect warns of a home that it cannot write; `process.preconditions` says what to do about it.
warnings.filterwarnings("ignore", "Failed to create the Prefect home directory")
