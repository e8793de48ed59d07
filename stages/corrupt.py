"""Corrupt the images of an index: COCO-C, by the 16 corruptions of the paper's table 11.

    python -m stages.corrupt --params params.yaml --index runs/annotate/val.index
        --state runs/state --out runs/corrupt

Writes `manifest.json` and, where `corrupt.archives` is set, one zip file for each corruption and severity. Without
archives the robustness stage makes each image when it needs it. A run that was stopped, however roughly, goes on
with what it had not finished; finished archives lie in a folder of `--state` that is named after everything that
decides them, because DVC deletes the outputs of a stage before it runs. With `--shard 2/4` it makes the second quarter
of the archives for such a folder and writes no result: several programs, also on several machines, share the work so,
and a last one without a shard writes it (`python -m pipelines.robustness`).
"""

import argparse
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from panoptic.index import PanopticIndex
from panoptic.io.files import naming_disk_errors, replace_atomically
from panoptic.robustness import corrupted_split, corruptions
from panoptic.robustness.corrupted_split import (
    CorruptedSplit,
    CorruptSettings,
    archive_name,
    find_records,
    images_of,
    write_archive,
)
from panoptic.runtime.cli import run_command
from panoptic.runtime.fingerprint import resume_identity
from panoptic.runtime.parallel import Shard, worker_pool
from stages.settings import load_section


def corrupt(settings: CorruptSettings, index_path: Path, state: Path, out: Path, shard: Shard | None = None) -> None:
    """Write manifest and archives, all of them or nothing; of a shard, neither."""
    if shard and not settings.archives:
        print(f"{shard}: nothing to do without archives")
        return
    index = PanopticIndex.load(index_path)
    split = CorruptedSplit.choose(index, settings)
    # With the code of corruptions, but not of all that reads images: their bytes are in the manifest already.
    code = [Path(module.__file__) for module in (corrupted_split, corruptions) if module.__file__]
    identity = resume_identity({"manifest": split.to_json().decode()}, code=code)
    folder = state / f"corrupt-{identity}"
    if shard:
        variants = shard.choose(split.variants)
        print(f"{shard}: {', '.join(map(str, variants))}", flush=True)
        _make_archives(replace(split, variants=tuple(variants)), index, folder, settings.workers)
        print(f"{shard}: {len(variants)} archives made, kept in {folder}")
        return
    if split.archives:
        _make_archives(split, index, folder, settings.workers)
    with replace_atomically(out) as partial:
        partial.mkdir()
        for variant in split.variants if split.archives else ():
            _link(folder / archive_name(variant), partial / archive_name(variant))
        with naming_disk_errors(out / "manifest.json"):
            (partial / "manifest.json").write_bytes(split.to_json())
    # With the result written the state has done its duty.
    shutil.rmtree(folder, ignore_errors=True)
    what = "archives written" if split.archives else "variants to be made on the fly"
    print(f"{len(split.variants)} {what}, {len(split.image_ids)} images each; {out / 'manifest.json'}")


def _make_archives(split: CorruptedSplit, index: PanopticIndex, folder: Path, workers: int) -> None:
    """Make those archives of `split` in `folder` that are not there yet."""
    missing = [variant for variant in split.variants if not (folder / archive_name(variant)).exists()]
    if len(missing) < len(split.variants):
        print(f"going on from {folder}: {len(split.variants) - len(missing)} of {len(split.variants)} archives done")
    # A worker needs no segments.
    records = tuple(replace(record, segments=()) for record in find_records(index, split.image_ids, str(index.images)))
    reader = images_of(index)
    total = len(split.variants) * len(records)
    done = total - len(missing) * len(records)
    with (
        worker_pool(workers) as pool,
        tqdm(total=total, initial=done, desc="corrupt", unit="image") as bar,
    ):
        if pool is None:
            for variant in missing:
                write_archive(folder / archive_name(variant), reader, variant, records)
                bar.update(len(records))
            return
        tasks = [pool.submit(write_archive, folder / archive_name(v), reader, v, records) for v in missing]
        for task in as_completed(tasks):
            task.result()
            bar.update(len(records))


def _link(source: Path, target: Path) -> None:
    """Put an archive to a second place, without a second copy where the disk can do so."""
    try:
        os.link(source, target)
    except OSError:
        with naming_disk_errors(target):
            shutil.copyfile(source, target)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.corrupt", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings; section 'corrupt' is read")
    parser.add_argument("--index", type=Path, required=True, help="index of the images to corrupt")
    parser.add_argument("--state", type=Path, required=True, help="folder for the finished part of a stopped run")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    help_shard = "make this part of the archives only, and write no result; as in 2/4"
    parser.add_argument("--shard", metavar="NUMBER/OF", help=help_shard)
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "corrupt", CorruptSettings)
        shard = Shard.parse(arguments.shard) if arguments.shard else None
        corrupt(settings, arguments.index, arguments.state, arguments.out, shard)

    run_command(stage)


if __name__ == "__main__":
    main()
