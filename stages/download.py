"""Make sure that the dataset is there, and write down what it consists of.

    python -m stages.download --params params.yaml --manifest runs/download/manifest.json

The archives of COCO 2017, COCO128 and ADE20K are fetched, verified, and unpacked unless they can be read in place: set
`dataset: {name: coco, root: datasets/coco, train: train2017, val: val2017}`, or `coco128` with the same splits, or
`ade20k` with `training` and `validation`. Complete files are not fetched again, and downloads resume after dropped
connections, server errors or a kill. Cityscapes needs a login: without it, the command says what to download by hand,
and where to. `mini` comes with the repository, and own data is already in place. All datasets are checked for
completeness; the manifest lists path, number of files and bytes of every part of every split. Images of COCO128 without
annotation are counted and named.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from panoptic.datasets.description import DatasetDescription
from panoptic.datasets.download.obtaining import DownloadSettings, obtain
from panoptic.datasets.download.records import working_alone
from panoptic.datasets.known import describe_dataset
from panoptic.datasets.layout import DatasetSettings, Part
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.folder import Folder
from panoptic.io.json_fields import read_json, write_json
from panoptic.runtime.cli import run_command
from stages.settings import load_section


def download(dataset: DatasetSettings, settings: DownloadSettings, root: Path, manifest: Path) -> None:
    """Bring the dataset to `root` if it can be fetched, check that it is complete, and write the manifest."""
    description = describe_dataset(dataset.name)
    description.require_annotated(_roles(dataset).values())
    if description.images:
        content = _published(description, dataset, settings, root)
    else:
        content = {"splits": {role: _own_split(description, root, split) for role, split in _roles(dataset).items()}}
    _require_files(root)
    content = {"dataset": dataset.name, **content}
    write_json(manifest, content)
    print(f"dataset '{dataset.name}' is complete; manifest written to {manifest}")


def _require_files(root: Path) -> None:
    """Refuse links that lead nowhere and the like: DVC reads everything below `root`, needed or not, before a stage."""
    hint = "remove it, or mount the disk that has it"
    Issues([f"{name}: {reason}; {hint}" for name, reason in Folder(root).unusable().items()]).raise_if_any(str(root))


def _roles(dataset: DatasetSettings) -> dict[str, str]:
    return {"train": dataset.train, "val": dataset.val}


def _published(
    description: DatasetDescription, dataset: DatasetSettings, settings: DownloadSettings, root: Path
) -> dict[str, object]:
    """Fetch and unpack what can be; returns the archives and the splits for the manifest."""
    roles = _roles(dataset)
    if settings.test:
        if not description.test:
            raise DatasetError(f"download.test: no test images of '{dataset.name}' are known; set it to false")
        roles["test"] = description.test
    archives = _fetch(description, tuple(roles.values()), settings, root)
    if settings.from_folder and not archives:
        raise DatasetError(
            f"download.from_folder: '{dataset.name}' has no archives to take from a folder; leave it empty",
            *description.hint.splitlines(),
        )
    return {
        "published": settings.published,
        "archives": archives,
        "splits": {
            role: _published_split(description, root, split, description.images[split] if settings.published else None)
            for role, split in roles.items()
        },
    }


def _fetch(
    description: DatasetDescription, splits: Sequence[str], settings: DownloadSettings, root: Path
) -> list[dict[str, object]]:
    """Fetch and unpack the archives that `splits` need; returns them for the manifest."""
    if not (archives := description.needed(splits)):
        return []
    with working_alone(root) as records:
        digests = obtain(archives, splits, settings, records)
    return [
        {
            **_file(root / archive.path),
            "sha256": digests[archive.path],
            "unpacked": [_file(root / output) for output in archive.outputs(splits)],
        }
        for archive in archives
    ]


def _published_split(
    description: DatasetDescription, root: Path, split: str, published: int | None
) -> dict[str, object]:
    """Describe a split; each part must have one file for each image, and as many as were `published` (None: any)."""
    parts = _describe_parts(description, root, split)
    found = {name: part["files"] for name, part in parts.items()}
    unannotated: dict[str, int] = {}
    if description.partly_annotated:
        annotated, left_out = _by_annotation(description.find_parts(root, split))
        found["images"], unannotated["unannotated"] = len(annotated), len(left_out)
        if left_out:
            print(f"{split}: {len(left_out)} images left out that have no annotation ({shown_ids(left_out, 3)})")
    expected = published or found["images"]
    wrong = [f"{parts[name]['path']} has {files} {name}" for name, files in found.items() if files != expected]
    if wrong:
        again = "remove the archive to have it fetched again"
        if not description.archives:
            again = "unpack the archives again, or set download.published to false for another selection of images"
        raise DatasetError(f"split '{split}' should have {expected} images, but {', '.join(wrong)}; {again}")
    return {"split": split, "image_count": expected, **unannotated, **parts}


def _by_annotation(parts: Mapping[str, Part]) -> tuple[list[str], list[str]]:
    """Divide the images into those with a mask of the same stem and those without."""
    annotated = {PurePosixPath(name).stem for name in parts["masks"].names()}
    images: tuple[list[str], list[str]] = [], []
    for name in parts["images"].names():
        images[PurePosixPath(name).stem not in annotated].append(name)
    return images


def _own_split(description: DatasetDescription, root: Path, split: str) -> dict[str, object]:
    """Describe a split that should be in place already."""
    parts = _describe_parts(description, root, split)
    images = read_json(Path(str(parts["panoptic_json"]["path"]))).objects("images")
    return {"split": split, "image_count": len(list(images)), **parts}


def _describe_parts(description: DatasetDescription, root: Path, split: str) -> dict[str, dict[str, object]]:
    """Describe the parts of a split; the error for a missing one says what to do."""
    try:
        return {name: _describe(part) for name, part in description.find_parts(root, split).items()}
    except DatasetError as error:
        raise DatasetError(*str(error).split("\n"), *description.hint.splitlines()) from None


def _describe(part: Part) -> dict[str, object]:
    """Path and bytes of a part, and the number of its files if it is a folder or an archive."""
    if part.path.suffix == ".json":
        return _file(part.path)
    names = part.names()
    if part.path.is_dir():
        folder = Folder(part.path)
        size = sum(folder.path_of(name).stat().st_size for name in names)
        return {"path": part.path.as_posix(), "files": len(names), "bytes": size}
    return {**_file(part.path), "folder": part.folder, "files": len(names)}


def _file(path: Path) -> dict[str, object]:
    return {"path": path.as_posix(), "bytes": path.stat().st_size}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings; sections 'dataset' and 'download' are read"
    )
    parser.add_argument("--root", type=Path, help="folder of the dataset, instead of the one in the settings")
    parser.add_argument("--from", dest="folder", metavar="DIR", help="folder with archives that were fetched already")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        dataset = load_section(arguments.params, "dataset", DatasetSettings)
        settings = load_section(arguments.params, "download", DownloadSettings)
        if arguments.folder:
            settings = replace(settings, from_folder=arguments.folder)
        download(dataset, settings, arguments.root or Path(dataset.root), arguments.manifest)

    run_command(stage)


if __name__ == "__main__":
    main()
