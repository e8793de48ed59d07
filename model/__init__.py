"""The networks, in torch: network/ is the paper's figure, ops/ its sampling operator, training/ how it learns."""

from panoptic.runtime.cli import end_quietly_until_run

end_quietly_until_run()
