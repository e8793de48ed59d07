"""Make sure that the dataset is there, and write down what it consists of.

    python -m stages.download --params params.yaml --manifest runs/download.json

`mini` comes with the repository and own data is already in place, so nothing is fetched: both are examined for
completeness. The manifest lists, for each part of each split, where it lies, its files and bytes.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from panoptic import layout
from panoptic.commands import run_command
from panoptic.errors import DatasetError
from panoptic.files import open_files, write_atomically
from panoptic.json_fields import read_json
from panoptic.layout import DatasetSettings, find_split
from stages.settings import load_section

_NOT_FETCHED = ("coco", "ade20k")


def download(settings: DatasetSettings, root: Path, manifest: Path) -> None:
    """Check that both splits of the dataset are complete and write the manifest."""
    if settings.name in _NOT_FETCHED:
        raise DatasetError(
            f"dataset '{settings.name}' cannot be fetched yet; put it in place yourself, in the layout below, and"
            f" give it another name with its folder as 'root'.\n{layout.__doc__}"
        )
    try:
        splits = {role: find_split(root, split) for role, split in _roles(settings).items()}
    except DatasetError as error:
        if settings.name == "mini":
            raise DatasetError(f"{error}\nfetch the dataset of this repository with: dvc pull data.dvc") from None
        raise DatasetError(f"{error}\nexpected layout:\n{layout.__doc__}") from None
    content = {
        "dataset": settings.name,
        "splits": {
            role: {
                "pictures": len(list(read_json(files.panoptic_json).objects("images"))),
                "panoptic_json": _describe(files.panoptic_json),
                "masks": _describe(files.masks),
                "images": _describe(files.images),
            }
            for role, files in splits.items()
        },
    }
    write_atomically(manifest, (json.dumps(content, indent=1) + "\n").encode())
    print(f"dataset '{settings.name}' is complete; manifest written to {manifest}")


def _roles(settings: DatasetSettings) -> dict[str, str]:
    return {"train": settings.train, "val": settings.val}


def _describe(path: Path) -> dict[str, object]:
    """Place, number of files and bytes of a file, an archive (its content counts as files), or a folder."""
    if path.is_dir():
        sizes = [entry.stat().st_size for entry in path.rglob("*") if entry.is_file()]
        return {"path": path.as_posix(), "files": len(sizes), "bytes": sum(sizes)}
    files = len(open_files(path).names()) if path.suffix == ".zip" else 1
    return {"path": path.as_posix(), "files": files, "bytes": path.stat().st_size}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.download", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings; section 'dataset' is read")
    parser.add_argument("--root", type=Path, help="folder of the dataset, instead of the one in the settings")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "dataset", DatasetSettings)
        download(settings, arguments.root or Path(settings.root), arguments.manifest)

    run_command(stage)


if __name__ == "__main__":
    main()
