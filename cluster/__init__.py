"""Run a stage's command in many processes, with torchrun or as a SLURM job; knows nothing about what it runs."""

import signal
import sys

if sys.argv[:1] == ["-m"]:  # a command that still imports: Ctrl-C ends it without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
