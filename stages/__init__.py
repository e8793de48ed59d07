"""One module per step of the pipeline: settings and paths in, one library call, files out."""

import os

from panoptic.runtime.cli import end_quietly_until_run

end_quietly_until_run()
# How long a thread of GNU's OpenMP spins before it sleeps while it waits for the others. With the default, any other
# load on the machine makes torch on a CPU several times slower; not spinning at all costs a quarter. The variable is
# read when torch is loaded, so it is set before any stage does that.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
