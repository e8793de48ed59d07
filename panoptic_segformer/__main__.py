"""`python -m panoptic_segformer` is the command `panoptic`."""

import sys

from panoptic_segformer.commands import main

if __name__ == "__main__":
    sys.exit(main())
