"""Corrupt the images of an index: COCO-C, with the 16 corruptions of the paper's table 11 or with others.

    python -m stages.corrupt --params params.yaml --index runs/annotate/val.index
        --state runs/state --out runs/corrupt

Writes `manifest.json` and, if `corrupt.archives` is set, one zip file per corruption and severity. Without archives,
the robustness stage makes each image when it needs it. A run that was stopped or killed resumes with the archives that
are missing: finished ones are kept in a folder of `--state` named after everything that determines them, because DVC
deletes the outputs of a stage before it runs. With `--shard 2/4` it makes the second quarter of the archives in that
folder and writes no result; so several programs, also on several machines, can divide the work, and a last one without
`--shard` writes the result (`python -m pipelines.robustness`).
"""

import argparse
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from panoptic.data.reader import print_reading_notes
from panoptic.index import PanopticIndex
from panoptic.io.files import naming_disk_errors, replace_folder
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
from panoptic.runtime.parallel import Shard, count_processes, worker_pool
from panoptic.runtime.resume import close_work, open_work, resume_identity, work_folder
from stages.settings import load_section


def corrupt(settings: CorruptSettings, index_path: Path, state: Path, out: Path, shard: Shard | None = None) -> None:
    """Write manifest and archives, all or nothing; with a shard, make its archives only."""
    if shard and not settings.archives:
        print(f"{shard}: nothing to do without archives")
        return
    index = PanopticIndex.load(index_path)
    split = CorruptedSplit.choose(index, settings)
    print_reading_notes(replace(index, records=find_records(index, split.image_ids, str(index.images))))
    # With the code that corrupts, but not the code that reads images: a digest of their files is in the manifest.
    # Without the variants: which archives are made decides none of them.
    code = [Path(module.__file__) for module in (corrupted_split, corruptions) if module.__file__]
    identity = resume_identity({"corrupt": replace(split, variants=())}, code=code)
    folder = work_folder(state, "corrupt", identity)
    if split.archives:
        open_work(state, "corrupt", identity)
    if shard:
        variants = shard.choose(split.variants)
        print(f"{shard}: {', '.join(map(str, variants))}", flush=True)
        _make_archives(replace(split, variants=tuple(variants)), index, folder, settings.workers)
        print(f"{shard}: {len(variants)} archives made, kept in {folder}")
        return
    if split.archives:
        _make_archives(split, index, folder, settings.workers)
    with replace_folder(out) as partial:
        for variant in split.variants if split.archives else ():
            _link(folder / archive_name(variant), partial / archive_name(variant))
        with naming_disk_errors(out / "manifest.json"):
            (partial / "manifest.json").write_bytes(split.to_json())
    close_work(folder)
    what = "archives written" if split.archives else "variants to be made on the fly"
    images = f"{len(split.image_ids)} of {len(index.records)} images each (corrupt.images)"
    print(f"{len(split.variants)} {what}, {images}; {out / 'manifest.json'}")


def _make_archives(split: CorruptedSplit, index: PanopticIndex, folder: Path, workers: int) -> None:
    """Make the archives of `split` that `folder` does not have yet."""
    missing = [variant for variant in split.variants if not (folder / archive_name(variant)).exists()]
    if len(missing) < len(split.variants):
        print(f"resuming from {folder}: {len(split.variants) - len(missing)} of {len(split.variants)} archives done")
    # Workers do not need segments.
    records = tuple(replace(record, segments=()) for record in find_records(index, split.image_ids, str(index.images)))
    reader = images_of(index)
    total = len(split.variants) * len(records)
    done = total - len(missing) * len(records)
    with (
        worker_pool(count_processes(workers), "corrupt.workers") as pool,
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
    """Put an archive into a second folder, without copying it if the disk can link files."""
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
    help_shard = "make only this part of the archives, such as 2/4, and write no result"
    parser.add_argument("--shard", metavar="NUMBER/OF", help=help_shard)
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "corrupt", CorruptSettings)
        shard = Shard.parse(arguments.shard) if arguments.shard else None
        corrupt(settings, arguments.index, arguments.state, arguments.out, shard)

    run_command(stage)


if __name__ == "__main__":
    main()
