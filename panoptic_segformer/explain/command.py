"""The work of `panoptic explain`."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from model.device import pick_device, usable_device, usual_defaults
from model.explanation.explaining import Explainer, describe
from model.explanation.observing import FOLDER, Observer
from model.explanation.settings import ExplainSettings
from panoptic.data.decoding import decode_upright
from panoptic.io.errors import Issues
from panoptic.io.files import replace_folder, write_atomically
from panoptic.report.explained import FILE, IMAGES
from panoptic.report.explained_contents import inside_network
from panoptic.report.page import render_page
from panoptic_segformer.changed_settings import with_changes
from panoptic_segformer.images import NamedImage
from panoptic_segformer.loading import inference_of
from panoptic_segformer.predict.inputs import Input, find_inputs
from panoptic_segformer.predict.run import say_failures, say_notes
from panoptic_segformer.weights.sources import find, read_checkpoint

PAGE = "explain.html"


def explain_photos(arguments: Namespace) -> None:
    """Explain the photos that a command line names, and write the folder, all or nothing.

    Raises:
        ValueError: there are no photos, no such weights, or `out` is a folder of something else.
    """
    out: Path = arguments.out
    _require_own(out)
    settings = ExplainSettings(segments=arguments.segments)
    inputs = find_inputs(arguments.inputs, out)
    say_notes(inputs)
    if inputs.videos:
        print(f"left out: {len(inputs.videos)} videos, of which there are no drawings; give single frames")
    observer, issues = _observer(arguments), Issues()
    with replace_folder(out) as folder, usual_defaults():
        explainer = Explainer(observer.config, settings, folder / IMAGES)
        for number, photo in enumerate(_photos(inputs.images, issues), start=1):
            for image in observer.observe([photo]):
                explainer.add(image, number)
        explanation = explainer.result()
        if not explanation.images:
            issues.raise_if_any("the photos")
        write_atomically(folder / FILE, explanation.encode())
        page = render_page("explain.html", inside=inside_network(explanation, folder), model=arguments.model)
        write_atomically(folder / PAGE, page.encode())
    print("\n".join(describe(explanation)))
    print(f"open it: {(out / PAGE).resolve().as_uri()}")
    if issues.messages:
        say_failures(issues.messages)
        raise SystemExit(1)


def _observer(arguments: Namespace) -> Observer:
    found = find(arguments.model)
    if found.path.is_dir():
        raise ValueError(f"{found.name}: {FOLDER}")
    checkpoint = read_checkpoint(found)
    given = {name: getattr(arguments, name) for name in ("shorter", "longer")}
    changes = {name: value for name, value in given.items() if value is not None}
    inference = with_changes(inference_of(checkpoint, found.name, changes), changes)
    network = checkpoint.network.to(usable_device(arguments.device or pick_device()))
    return Observer(network, inference, checkpoint.categories)


def _photos(inputs: Sequence[Input], issues: Issues) -> Iterator[NamedImage]:
    """Read photos, and collect what is wrong with those that cannot be read."""
    for each in inputs:
        with issues.collected():
            yield NamedImage(each.where, decode_upright(each.read(), each.where))


def _require_own(out: Path) -> None:
    """Refuse to replace a folder that this command has not written."""
    if out.is_dir() and any(out.iterdir()) and not (out / FILE).exists():
        raise ValueError(f"{out}: holds other files, which would be replaced; name another folder with --out")
