"""Commands outside the pipeline; no stage imports them."""

from panoptic.runtime.cli import end_quietly_until_run

end_quietly_until_run()
