"""Convert a published checkpoint to ours, or ours back (see the package)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from model.weights.description import metadata_path
from model.weights.loading.layout import listed
from model.weights.official.classes import categories_of
from model.weights.official.convert import SEED, Converted, convert, convert_back, save_converted
from model.weights.official.models import CONFIGS
from model.weights.official.names import UNUSED
from model.weights.official.released import RELEASED, fetch_released, record
from model.weights.official.sidecar import sidecar_path
from panoptic.runtime.cli import run_command

OUR_SUFFIX = ".safetensors"


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert one file, in either direction."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.file is None and (options.fetch is None or options.to_official):
        parser.error("give a file, or a released checkpoint to --fetch")
    run_command(lambda: _back(options) if options.to_official else _forth(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.weights.official", description=__doc__)
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        help="the published .pth file; with --fetch, where to keep it (default: beside --out); with --to-official, our "
        ".safetensors file",
    )
    parser.add_argument("--fetch", choices=RELEASED, help="released checkpoint to download first, unless it is there")
    parser.add_argument(
        "--mirror", action="append", default=[], help="address of a folder to try before the official release"
    )
    parser.add_argument("--model", choices=CONFIGS, help="published model of the checkpoint; --fetch knows it")
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write; our weights come with more files beside them"
    )
    parser.add_argument(
        "--categories", type=Path, help="JSON in COCO's format with the classes of the network (default: COCO's)"
    )
    parser.add_argument(
        "--reinitialize",
        action="store_true",
        help="allow newly initialized heads where classes differ; classes of the same name keep theirs",
    )
    parser.add_argument(
        "--ema", action="store_true", help="take the moving average of the weights that the file holds beside them"
    )
    parser.add_argument("--to-official", action="store_true", help="convert back: ours to the published layout")
    parser.add_argument("--without-unused", action="store_true", help="convert back without the entries nothing uses")
    return parser


def _forth(options: argparse.Namespace) -> None:
    released = RELEASED.get(options.fetch)
    model = released.model if released else options.model
    if model is None:
        raise ValueError(f"--model is missing; give one of {', '.join(CONFIGS)}")
    if options.model not in (None, model):
        raise ValueError(
            f"--fetch {options.fetch} is a checkpoint of {model}, not of {options.model}; leave out --model"
        )
    if options.without_unused:
        raise ValueError("--without-unused belongs to --to-official; leave it out")
    if options.out.suffix != OUR_SUFFIX:
        raise ValueError(f"--out is {options.out}; our weights end in {OUR_SUFFIX}")
    categories = categories_of(options.categories) if options.categories else None
    file: Path = options.file or options.out.parent / (released.name if released else "")
    if released:
        fetch_released(released, file, options.mirror)
    converted = convert(file, model, categories, options.reinitialize, options.ema, released is not None)
    save_converted(options.out, converted)
    if released:
        record(released, file)
    print("\n".join(_report(options.out, converted)))


def _back(options: argparse.Namespace) -> None:
    if options.categories or options.reinitialize or options.ema or options.fetch:
        raise ValueError("--categories, --reinitialize, --ema and --fetch do not go with --to-official; leave them out")
    if options.file.suffix != OUR_SUFFIX or options.out.suffix == OUR_SUFFIX:
        raise ValueError(f"--to-official reads {OUR_SUFFIX} and writes .pth; found {options.file} and {options.out}")
    entries = convert_back(options.file, options.out, options.model, options.without_unused)
    print(f"{options.out}: {entries} entries in the published layout")


def _report(out: Path, converted: Converted) -> list[str]:
    """Describe what became of every part of the published file."""
    provenance, sidecar = converted.checkpoint.provenance, converted.sidecar
    used = sum(parameter.numel() for parameter in converted.checkpoint.network.parameters())
    lines = [
        f"{provenance['source']} ({provenance['model']}, SHA-256 {provenance['sha256']})",
        _line("used", len(sidecar.types) - len(sidecar.unused), used, ""),
    ]
    for prefix, what in UNUSED.items():
        part = [tensor for name, tensor in sidecar.unused.items() if name.startswith(prefix)]
        lines.append(_line("dropped", len(part), _size(part), f"{prefix}*: {what}, which nothing uses"))
    others = [tensor for name, tensor in sidecar.unused.items() if not name.startswith(tuple(UNUSED))]
    if others:
        lines.append(_line("dropped", len(others), _size(others), "of no use for these classes, see below"))
    lines.append(_line("in all", len(sidecar.types), used + _size(list(sidecar.unused.values())), ""))
    transferred = converted.transferred
    rows = " for the new classes" if transferred.classes.sources else ""
    lines += listed(dict.fromkeys(transferred.initial, f"re-initialized{rows}, seed {SEED}"))
    lines += [f"  - {remark}" for remark in (*converted.remarks, *transferred.lines())]
    if converted.left_out:
        lines.append(f"  not converted: {', '.join(converted.left_out)} (training state)")
    return [*lines, f"wrote {out}, {metadata_path(out).name} and, for the way back, {sidecar_path(out).name}"]


def _line(what: str, entries: int, parameters: int, remark: str) -> str:
    size = f"{parameters:12,}".replace(",", " ")
    return f"  {what:8}{entries:5} entries {size} parameters  {remark}".rstrip()


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


if __name__ == "__main__":
    main()
