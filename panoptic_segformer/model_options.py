"""Options of the commands that use a model. Nothing heavy is imported before it is loaded."""

from argparse import Namespace, _ActionsContainer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from panoptic_segformer.model import Model


def path_or_name(text: str) -> str:
    """Take an argument that may be the path of a file, which shells complete, or something else."""
    return text


def add_model_options(parser: _ActionsContainer) -> None:
    """Add the options that say which model to use, where, and on images of which size."""
    parser.add_argument(
        "--model", type=path_or_name, default="runs/train/model.safetensors", help="weights (default: %(default)s)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    parser.add_argument("--shorter", type=int, metavar="PIXELS", help="size that the shorter side is scaled to")
    parser.add_argument("--longer", type=int, metavar="PIXELS", help="most that the longer side is scaled to")


def load_model(arguments: Namespace, *more: str) -> "Model":
    """Load the model that the options name, with its sizes and the settings `more` changed if they are given."""
    from panoptic_segformer.changed_settings import SettingError
    from panoptic_segformer.loading import load

    given = {name: getattr(arguments, name) for name in ("shorter", "longer", *more)}
    settings = {name: value for name, value in given.items() if value is not None}
    try:
        return load(arguments.model, device=arguments.device, **settings)
    except SettingError as error:
        raise ValueError(error.by_option()) from error
