"""One module per step of the pipeline: settings and paths in, one library call, files out."""

import os

# Threads that wait for each other sleep instead of spinning. Spinning costs a multiple of the time as soon as anything
# else runs on the machine; it is read when torch is loaded, so it is said before any stage does that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
