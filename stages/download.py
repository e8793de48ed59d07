"""Make sure that the dataset is there, and write down what it consists of.

    python -m stages.download --params params.yaml --manifest runs/download/manifest.json

The archives of COCO 2017 and ADE20K are fetched, verified, and unpacked as far as they are not read in place: give
`dataset: {name: coco, root: datasets/coco, train: train2017, val: val2017}`, or `ade20k` with `training` and
`validation`. What is complete is not fetched again, what a cut or a kill has left is continued. `mini` comes with the
repository and own data is already in place. All are inspected for completeness; the manifest lists, for each part of
each split, where it lies, its files and bytes.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from panoptic.datasets import layout
from panoptic.datasets.download.archives import PUBLIC_DATASETS, PublicDataset
from panoptic.datasets.download.obtaining import DownloadSettings, obtain
from panoptic.datasets.download.records import working_alone
from panoptic.datasets.layout import DatasetSettings, Part, find_ade20k_split, find_split
from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.io.json_fields import read_json
from panoptic.runtime.cli import run_command
from stages.settings import load_section


def download(dataset: DatasetSettings, settings: DownloadSettings, root: Path, manifest: Path) -> None:
    """Bring the dataset to `root` if it is a public one, check that it is complete, and write the manifest."""
    public = PUBLIC_DATASETS.get(dataset.name)
    if public:
        content = _public(public, dataset, settings, root)
    else:
        content = {"splits": {role: _own_split(dataset.name, root, split) for role, split in _roles(dataset).items()}}
    content = {"dataset": dataset.name, **content}
    write_atomically(manifest, (json.dumps(content, indent=1) + "\n").encode())
    print(f"dataset '{dataset.name}' is complete; manifest written to {manifest}")


def _roles(dataset: DatasetSettings) -> dict[str, str]:
    return {"train": dataset.train, "val": dataset.val}


def _public(
    public: PublicDataset, dataset: DatasetSettings, settings: DownloadSettings, root: Path
) -> dict[str, object]:
    """Fetch and unpack; returns the archives and the splits for the manifest."""
    roles = _roles(dataset)
    if settings.test:
        if not public.test:
            raise DatasetError(f"download.test: no test images of '{dataset.name}' are known; set it to false")
        roles["test"] = public.test
    archives, splits = public.needed(roles.values()), tuple(roles.values())
    with working_alone(root) as records:
        digests = obtain(archives, splits, settings, records)
    return {
        "published": settings.published,
        "archives": [
            {
                **_file(root / archive.place),
                "sha256": digests[archive.place],
                "unpacked": [_file(root / output) for output in archive.outputs(splits)],
            }
            for archive in archives
        ],
        "splits": {
            role: _public_split(dataset.name, root, split, public.images[split] if settings.published else None)
            for role, split in roles.items()
        },
    }


def _public_split(name: str, root: Path, split: str, published: int | None) -> dict[str, object]:
    """The parts of a split; each must have one file for each image, and as many as were `published` (None: any)."""
    parts = {kind: _describe(part) for kind, part in _public_parts(name, root, split).items()}
    expected = published or parts["images"]["files"]
    wrong = [f"{part['path']} has {part['files']} {kind}" for kind, part in parts.items() if part["files"] != expected]
    if wrong:
        raise DatasetError(
            f"split '{split}' should have {expected} images, but {', '.join(wrong)}; remove the archive to have it"
            " fetched again"
        )
    return {"split": split, "image_count": expected, **parts}


def _public_parts(name: str, root: Path, split: str) -> Mapping[str, Part]:
    if name == "ade20k":
        return vars(find_ade20k_split(root, split))
    if split == PUBLIC_DATASETS[name].test:
        return {"images": Part(root / f"{split}.zip", suffix=".jpg")}
    files = find_split(root, split)
    return {"images": Part(files.images, suffix=".jpg"), "masks": Part(files.masks, suffix=".png")}


def _own_split(name: str, root: Path, split: str) -> dict[str, object]:
    """The parts of a split that should be in place already."""
    try:
        files = find_split(root, split)
    except DatasetError as error:
        if name == "mini":
            raise DatasetError(f"{error}\nfetch the dataset of this repository with: dvc pull data.dvc") from None
        raise DatasetError(f"{error}\nexpected layout:\n{layout.__doc__}") from None
    return {
        "split": split,
        "image_count": len(list(read_json(files.panoptic_json).objects("images"))),
        "panoptic_json": _file(files.panoptic_json),
        "masks": _describe(Part(files.masks)),
        "images": _describe(Part(files.images)),
    }


def _describe(part: Part) -> dict[str, object]:
    """Place of a part, the number of its files, and the bytes of the folder or the archive."""
    names = part.names()
    if part.path.is_dir():
        size = sum((part.path / name).stat().st_size for name in names)
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
    parser.add_argument("--from", dest="folder", metavar="DIR", help="folder with archives that are there already")
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
