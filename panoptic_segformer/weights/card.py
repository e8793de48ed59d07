"""The model card: a page about weights, written from their run alone, in the Hugging Face hub's format.

What the run does not tell, such as the license, is asked for or said to be unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.weights.checkpoint import Checkpoint
from model.weights.official.released import RELEASED
from panoptic.io.json_fields import JsonObject
from panoptic.io.reading import read_text
from panoptic.markdown import markdown_page
from panoptic_segformer.weights.bundle import Bundle
from panoptic_segformer.weights.card_run import dataset_of, describe_data, describe_training
from panoptic_segformer.weights.card_scores import HEADLINES, describe_classes, describe_scores, percent, value_of
from panoptic_segformer.weights.names import METRICS, PASSPORT, RESULTS_PASSPORT, WEIGHTS

LICENSES = "https://huggingface.co/docs/hub/repositories-licenses"
NO_LICENSE = "Not stated. Ask the owner of these weights before you use or share them."


@dataclass(frozen=True)
class CardRequest:
    """Facts for the card that the run does not tell."""

    license: str = ""
    """Identifier of a license, as the hub lists them; empty if it is unknown."""
    repository: str = ""
    """Where on the hub the weights are going to be, `owner/name`; empty if nowhere."""


def write_card(bundle: Bundle, request: CardRequest) -> str:
    """Write the card of weights: YAML for the hub's search and tables, then a page of Markdown."""
    title = request.repository.rpartition("/")[2] or bundle.weights.stem
    source = request.repository or str(bundle.weights)
    sections = {
        "Use": _use(bundle, source),
        "Scores": describe_scores(bundle),
        "Data": describe_data(bundle),
        "Training": describe_training(bundle),
        "Limits": ["\n".join(f"- {limit}" for limit in _limits(bundle))],
        "Classes": describe_classes(bundle),
        "License": [f"`{request.license}`, as its owner states." if request.license else NO_LICENSE],
        "Verify and make again": _verification(bundle, request.repository),
    }
    blocks = (block for name, content in sections.items() for block in (f"## {name}", *content))
    page = markdown_page(f"# {title}", _summary(bundle.checkpoint), *blocks)
    return f"---\n{_front_matter(bundle, request, title)}\n---\n\n{page}"


def _summary(checkpoint: Checkpoint) -> str:
    things, stuff = len(checkpoint.categories.things), len(checkpoint.categories.stuff)
    parameters = sum(parameter.numel() for parameter in checkpoint.network.parameters())
    size = f"{parameters / 1e6:.1f} million" if parameters >= 1e6 else f"{parameters / 1e3:.0f} thousand"
    network = checkpoint.network
    backbone = f"the backbone `{network.backbone.name}` and " if network.backbone else ""
    return (
        f"{network.paper} with {backbone}{size} parameters, for "
        f"panoptic segmentation: every pixel of an image is assigned to an object of one of "
        f"{_counted(things, 'thing class', 'thing classes')}, or to one of "
        f"{_counted(stuff, 'stuff class', 'stuff classes')}."
    )


def _use(bundle: Bundle, source: str) -> Iterator[str]:
    yield f"""```python
import panoptic_segformer

result = panoptic_segformer.load("{source}")("photo.jpg")
```"""
    yield f"In a terminal:\n\n    panoptic predict photo.jpg --model {source}"
    yield _input(bundle)


def license_of(card: Path, digest: str) -> str:
    """Read the license in a card that was written before, perhaps edited since.

    Raises:
        ValueError: it is of other weights, or states no license.
    """
    from huggingface_hub import ModelCard

    text = read_text(card)
    if digest not in text:
        raise ValueError(
            f"{card}: does not have the SHA-256 of these weights, {digest}; move it away, or write the card again"
        )
    try:
        found = ModelCard(text).data.get("license")
    except ValueError as error:
        raise ValueError(f"{card}: its YAML cannot be read ({error}); write it again") from error
    if not found:
        raise ValueError(f"{card}: states no license; add `license:` to its YAML, one of {LICENSES}")
    return str(found)


def _front_matter(bundle: Bundle, request: CardRequest, title: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    metrics, dataset = bundle.read(METRICS), dataset_of(bundle)
    scored = [
        EvalResult(
            task_type="image-segmentation",
            task_name="Panoptic segmentation",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split="validation",
            metric_type=headline.type,
            metric_name=headline.title,
            metric_value=round(100 * value, 2),
        )
        for headline in HEADLINES
        if metrics is not None and (value := value_of(metrics, headline.key)) is not None
    ]
    data = ModelCardData(
        license=request.license or None,
        library_name="panoptic-segformer",
        pipeline_tag="image-segmentation",
        tags=["panoptic-segmentation", "panoptic-segformer"],
        model_name=title,
        eval_results=scored or None,
    )
    return data.to_yaml()


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _input(bundle: Bundle) -> str:
    settings = bundle.checkpoint.inference
    if settings is None:
        return "The size of images that the network needs is not in the file: give `shorter` and `longer` in pixels."
    return (
        f"Images of any size are resized so that the shorter side has {settings.shorter} pixels and the longer one at "
        f"most {settings.longer}; segments with a score below {settings.merging.score_threshold:g} are dropped. These "
        "settings are in the file and can be changed by name."
    )


def _limits(bundle: Bundle) -> Iterator[str]:
    checkpoint, metrics = bundle.checkpoint, bundle.read(METRICS)
    yield (
        "It knows the classes below and no others: anything else is left void (id 0), or taken for a class that looks "
        "alike."
    )
    if checkpoint.inference:
        yield (
            f"What is smaller than a few pixels once the image's shorter side has {checkpoint.inference.shorter} "
            "pixels is likely to be missed; cut larger images into tiles."
        )
    if metrics is None:
        yield "No scores come with these weights, so nothing is known here of how often they are wrong."
    elif bundle.has_sealed_scores:
        yield f"The scores are of images like those of `{dataset_of(bundle)}`; on other images, expect less."
    if bundle.passport and (shared := bundle.passport.section("splits").integer("shared_images")):
        yield f"{shared} images are in both the training and the validation split, which makes the scores too good."
    robustness = _robustness(bundle)
    if robustness is None:
        yield "How it holds under noise, blur, weather or compression was not measured."
    else:
        clean, corrupted = (value_of(robustness, f"{name}.all") for name in ("clean", "mean"))
        kinds = _counted(len(robustness.child("corruptions").values), "corruption", "corruptions")
        yield f"Under {kinds} of the images, PQ falls from {percent(clean)} to {percent(corrupted)} on average."
    yield "Scores are not probabilities. Do not rely on it where an error could harm somebody."


def _robustness(bundle: Bundle) -> JsonObject | None:
    metrics = bundle.results.section("metrics") if bundle.results else None
    name = "robustness/metrics.json"
    return metrics.child(name) if metrics and metrics.has(name) else None


def _verification(bundle: Bundle, repository: str) -> Iterator[str]:
    digest = bundle.checkpoint.digest
    what = f"`{WEIGHTS}`" if digest else f"the tensors in `{WEIGHTS}`"
    yield f"SHA-256 of {what}: `{digest or bundle.checkpoint.tensors_digest}`"
    folder = repository.rpartition("/")[2] or "."
    commands = [f"panoptic weights pull {repository} --out {folder}"] if repository else []
    if bundle.passport is None:
        source = bundle.checkpoint.provenance.get("source")
        if released := next((row for row in RELEASED.values() if row.name == source), None):
            yield f"Converting [{released.name}]({released.address}) again gives the same file."
        yield "\n".join(f"    {command}" for command in commands)
        yield "No passport comes with these weights, so nothing but this digest can be checked."
        return
    commands.append(f"panoptic weights verify {folder}/{WEIGHTS}")
    if bundle.results:
        commands.append(f"python -m pipelines.remake {folder}/{RESULTS_PASSPORT} --into again")
    yield "\n".join(f"    {command}" for command in commands)
    signed = bundle.passport.signature
    by = f"signed by the key `{signed.fingerprint}`" if signed else "not signed"
    yield (
        f"The passport `{PASSPORT}`, {by}, lists what the run read, ran and wrote. `verify` compares all of it that is "
        "at hand and repeats the first steps of training; `remake` repeats the whole run and compares the results."
    )
