"""Verify the dataset and write the input of the later stages: an index per split, instances, the category table.

    python -m stages.annotate --params params.yaml --manifest runs/download/manifest.json
        --state runs/state --output runs/annotate

Writes `train.index` and `val.index` (panoptic indices), the same segments in COCO's detection format, the ground-truth
instances for AP, `categories.json`, optionally semantic maps, and, for a dataset without panoptic PNGs such as ADE20K
or Cityscapes, or with super-categories as classes, these PNGs and their JSON; `panoptic.datasets.outputs` describes the
files. Nothing is written unless every image of both splits is sound and their number is that of the manifest.

An interrupted or killed run resumes with its unfinished images. Finished ones are kept in a folder of `--state`, named
after everything that decides them, because DVC deletes the outputs of a stage before it runs.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from panoptic.data.reader import print_reading_notes
from panoptic.datasets import shards
from panoptic.datasets.coco import ImageSource
from panoptic.datasets.known import describe_dataset
from panoptic.datasets.layout import DatasetSettings, describe_unused
from panoptic.datasets.outputs import write_split
from panoptic.datasets.shards import SUPERCATEGORY, AnnotateSettings, cut_into_shards, make_shards
from panoptic.datasets.supercategories import with_supercategories
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.files import naming_disk_errors, replace_folder
from panoptic.io.json_fields import encode_json, read_json
from panoptic.runtime.cli import run_command
from panoptic.runtime.fingerprint import PROJECT
from panoptic.runtime.parallel import count_processes
from panoptic.runtime.resume import ResumeIdentity, close_work, open_work, resume_identity
from stages.settings import load_section

# Listed by name: the modules imported so far would depend on what else the process has done.
_CODE = ("data", "datasets", "format", "index", "instances", "io", "runtime")
_LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "pycocotools")


def annotate(
    dataset: DatasetSettings, settings: AnnotateSettings, root: Path, manifest: Path | None, state: Path, output: Path
) -> None:
    """Verify both splits of the dataset below `root` and write all files of this stage into `output`, or none."""
    splits = {"train": dataset.train, "val": dataset.val}
    description = describe_dataset(dataset.name)
    description.require_annotated(splits.values())
    sources = {role: description.find_source(root, split) for role, split in splits.items()}
    _check_splits(dataset, sources, root, manifest)
    if settings.categories == SUPERCATEGORY:
        sources = with_supercategories(sources, str(root))
    folder = open_work(state, "annotate", _identity(sources, settings))
    parts = {role: cut_into_shards(role, source, folder, settings.semantic) for role, source in sources.items()}
    finished = sum(shard.finished for those in parts.values() for shard in those)
    if finished:
        print(f"resuming from {folder}: {finished} of {sum(map(len, parts.values()))} shards done")
    found = make_shards(parts, count_processes(settings.workers))
    issues = Issues([message for role, source in sources.items() for message in (*source.issues, *found[role])])
    if issues.messages:
        # Repairing them changes the files, and so the name of the folder.
        close_work(folder)
    issues.raise_if_any(str(root))
    with replace_folder(output) as partial_output:
        for role, source in sources.items():
            write_split(partial_output, output, role, source, parts[role], settings.semantic)
        table = {"categories": sources["train"].categories.to_json()}
        with naming_disk_errors(output):
            (partial_output / "categories.json").write_bytes(encode_json(table))
    close_work(folder)
    for role, source in sources.items():
        print(f"{role}: {len(source.verifiers)} images")
        _print_notes(PanopticIndex.load(output / f"{role}.index"), is_published=bool(description.archives))
    categories = sources["train"].categories
    print(f"categories: {len(categories.things)} things, {len(categories.stuff)} stuff; written to {output}")


def _print_notes(index: PanopticIndex, is_published: bool) -> None:
    """Say what is not as it seems; the number of images of a published dataset is verified, and its files are fixed."""
    print_reading_notes(index)
    if not is_published:
        for note in describe_unused(index.image_files(), (record.file_name for record in index.records)):
            print(f"note: {note}")


def _check_splits(
    dataset: DatasetSettings, sources: Mapping[str, ImageSource], root: Path, manifest: Path | None
) -> None:
    """Raise `DatasetError` unless the splits have the same categories, and as many images as the manifest says."""
    where, than = f"{root}: split '{dataset.val}'", f"split '{dataset.train}'"
    sources["train"].categories.require_same(sources["val"].categories, where, than)
    if not manifest:
        return
    document = read_json(manifest)
    again = "run stages.download again"
    if document.text("dataset") != dataset.name:
        message = f"it is of the dataset '{document.text('dataset')}', not of '{dataset.name}'"
        raise DatasetError(f"{manifest}: {message}; {again}")
    for role, split in (("train", dataset.train), ("val", dataset.val)):
        entry = document.child("splits").child(role)
        if entry.text("split") != split:
            raise DatasetError(f"{entry.where}: it is split '{entry.text('split')}', not '{split}'; {again}")
        if not entry.has("image_count"):
            raise DatasetError(f"{entry.where}: 'image_count' is missing, as in files of earlier versions; {again}")
        found, expected = len(sources[role].verifiers), entry.integer("image_count")
        # Images that are left out because of an issue are reported with it.
        if found != expected and not sources[role].issues:
            message = f"split '{split}' has {found} annotated images, but {manifest} says {expected}"
            raise DatasetError(f"{root}: {message}; {again}")


def _identity(sources: Mapping[str, ImageSource], settings: AnnotateSettings) -> ResumeIdentity:
    """Everything that decides the shards: the dataset's files, and all code and libraries that read images."""
    paths = sorted({path for source in sources.values() for path in source.files})
    return resume_identity(
        settings={
            "annotate.categories": settings.categories,
            "annotate.semantic": settings.semantic,
            "images_per_shard": shards.SHARD,
            "splits": {role: source.files for role, source in sources.items()},
        },
        files={str(path): path for path in paths if path.suffix == ".json"},
        data={str(path): path for path in paths if path.suffix != ".json"},
        code=(file for package in _CODE for file in (PROJECT / "panoptic" / package).rglob("*.py")),
        libraries=_LIBRARIES,
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.annotate", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings; sections 'dataset' and 'annotate' are read"
    )
    parser.add_argument("--root", type=Path, help="folder of the dataset, instead of the one in the settings")
    parser.add_argument(
        "--manifest", type=Path, help="manifest of stages.download, whose numbers of images must still be right"
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for the finished part of an interrupted run")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        dataset = load_section(arguments.params, "dataset", DatasetSettings)
        settings = load_section(arguments.params, "annotate", AnnotateSettings)
        root = arguments.root or Path(dataset.root)
        annotate(dataset, settings, root, arguments.manifest, arguments.state, arguments.output)

    run_command(stage)


if __name__ == "__main__":
    main()
