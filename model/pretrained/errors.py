"""What goes wrong with initial weights."""

from model.pickled import PickledWeightsError


class PretrainedError(PickledWeightsError):
    """Weights that are not there, cannot be read, or do not fit the backbone."""
