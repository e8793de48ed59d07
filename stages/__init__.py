"""One module per step of the pipeline: settings and paths in, one library call, files out."""

from panoptic.runtime.cli import end_quietly_until_run
from panoptic.runtime.waiting import choose_waiting

end_quietly_until_run()
choose_waiting()  # here, as it is too late once a stage has loaded torch
