"""Fetch, convert, verify, sign and share weights."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from panoptic.runtime.cli import command_parser, run_command

if TYPE_CHECKING:
    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

_DETAILS = "`panoptic weights COMMAND --help` lists the options of one."
_EXAMPLES = """
panoptic weights list
panoptic weights fetch r50_2x
panoptic weights card runs/train/model.safetensors --license cc-by-4.0
panoptic weights push runs/train owner/name --license cc-by-4.0
panoptic weights pull owner/name --out pretrained/name
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line. Nothing heavy is imported before it is known what is to be done."""
    parser = command_parser("weights", __doc__, _EXAMPLES, _DETAILS)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_list, _add_fetch, _add_convert, _add_verify, _add_sign, _add_card, _add_push, _add_pull):
        add(commands)
    given = parser.parse_args(argv)
    run_command(lambda: given.run(given))


def _add(
    commands: "_Commands", run: Callable[[argparse.Namespace], None], summary: str, example: str = ""
) -> argparse.ArgumentParser:
    """Add the command below `panoptic weights` that a function of its name runs."""
    name = run.__name__.removeprefix("_")
    described = f"{summary[0].upper()}{summary[1:]}."
    epilog = f"example: panoptic weights {name} {example}".rstrip()
    parser = commands.add_parser(name, help=summary, description=described, epilog=epilog)
    parser.set_defaults(run=run)
    return parser


def _add_list(commands: "_Commands") -> None:
    _add(commands, _list, "list published weights, and those on this machine")


def _list(_: argparse.Namespace) -> None:
    from panoptic_segformer.weights.listing import describe_weights

    print(describe_weights())


def _add_fetch(commands: "_Commands") -> None:
    parser = _add(commands, _fetch, "fetch and convert a checkpoint that the authors published", "r50_2x")
    parser.add_argument("name", help="published checkpoint, such as r50_2x; `panoptic weights list` has all")
    parser.add_argument("--out", type=Path, help="safetensors file to write (default: in the user's cache)")
    parser.add_argument("--mirror", action="append", default=[], help="address of a folder to try first")


def _fetch(given: argparse.Namespace) -> None:
    from panoptic_segformer.weights.published import fetch

    fetch(given.name, given.out, given.mirror)


def _add_convert(commands: "_Commands") -> None:
    parser = _add(commands, _convert, "convert a checkpoint of the authors' code", "my.pth --out my.safetensors")
    parser.add_argument("file", type=Path, help=".pth file of the authors' code")
    parser.add_argument("--out", type=Path, help="safetensors file to write (default: beside the file)")
    parser.add_argument("--categories", type=Path, help="JSON in COCO's format with its classes (default: COCO's)")
    parser.add_argument("--ema", action="store_true", help="take the moving average of the weights in the file")


def _convert(given: argparse.Namespace) -> None:
    from panoptic_segformer.weights.published import convert_file

    convert_file(given.file, given.out, given.categories, given.ema)


def _add_verify(commands: "_Commands") -> None:
    parser = _add(
        commands,
        _verify,
        "verify weights and results against their passports",
        "runs/train/model.safetensors --key passport-key.pub",
    )
    parser.add_argument("weights", type=Path, help="safetensors file with its passport, or an exported file")
    parser.add_argument("--data", type=Path, help="folder that the paths of data in the passport are relative to")
    parser.add_argument("--repository", type=Path, help="git repository with the commit of the run")
    parser.add_argument("--key", type=Path, help="public key (.pub) that must have signed the passports")
    parser.add_argument("--steps", type=int, help="steps of training to repeat; 0: none")
    parser.add_argument("--images", type=int, help="images to predict again; 0: none")
    parser.add_argument("--seed", type=int, help="of the sample of images")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def _verify(given: argparse.Namespace) -> None:
    from model.verify.__main__ import main as verify
    from panoptic_segformer.weights.names import RESULTS_PASSPORT

    beside = given.weights.with_name(RESULTS_PASSPORT)  # where `pull` puts it
    results = beside if beside.is_file() and given.weights.with_suffix(".passport.json").is_file() else None
    names = ("data", "repository", "key", "steps", "images", "seed")
    values = {"results": results} | {name: getattr(given, name) for name in names}
    options = [text for name, value in values.items() if value is not None for text in (f"--{name}", str(value))]
    verify([str(given.weights), *options, *(["--json"] if given.json else [])])


def _add_sign(commands: "_Commands") -> None:
    parser = _add(commands, _sign, "sign the passports of a finished run", "runs/train --key passport-key")
    parser.add_argument("weights", type=Path, help="safetensors file with its passport, or its folder")
    parser.add_argument("--key", type=Path, required=True, help="private Ed25519 key of OpenSSH, without a passphrase")


def _sign(given: argparse.Namespace) -> None:
    from panoptic.passport.signature import SigningKey
    from panoptic_segformer.weights.signing import sign

    sign(given.weights, SigningKey(given.key))


def _add_card(commands: "_Commands") -> None:
    parser = _add(
        commands, _card, "write the model card of weights", "runs/train --license mit --repository owner/name"
    )
    parser.add_argument("weights", type=Path, help="safetensors file, or its folder")
    parser.add_argument("--license", default="", help="under which the weights may be used, such as cc-by-4.0")
    parser.add_argument("--repository", default="", help="owner/name on the Hugging Face hub, if they go there")
    parser.add_argument("--scores", type=Path, help="folder of stages.evaluate, where no passport says what was scored")
    parser.add_argument("--out", type=Path, help="Markdown file to write (default: README.md beside the weights)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def _card(given: argparse.Namespace) -> None:
    from panoptic.io.files import write_atomically
    from panoptic_segformer.weights.bundle import open_bundle
    from panoptic_segformer.weights.card import CardRequest, write_card
    from panoptic_segformer.weights.names import CARD
    from panoptic_segformer.weights.sources import local_weights

    bundle = open_bundle(local_weights(given.weights), given.scores)
    out = given.out or bundle.weights.with_name(CARD)
    if out.exists() and not given.overwrite:
        raise ValueError(f"{out}: is there, perhaps with changes of your own; give --overwrite, or another --out")
    write_atomically(out, write_card(bundle, CardRequest(given.license, given.repository)).encode())
    print(f"wrote {out}" + ("" if given.license else "; it says that no license is stated: give --license"))


def _add_push(commands: "_Commands") -> None:
    parser = _add(
        commands,
        _push,
        "upload weights to the Hugging Face hub, with what belongs to them",
        "runs/train owner/name --license cc-by-4.0",
    )
    parser.add_argument("weights", type=Path, help="safetensors file, or its folder")
    parser.add_argument("repository", help="owner/name on the Hugging Face hub; is made if there is none")
    parser.add_argument(
        "--license", help="for the card, such as cc-by-4.0; not needed if the README.md beside the weights has it"
    )
    parser.add_argument("--scores", type=Path, help="folder of stages.evaluate, where no passport says what was scored")
    parser.add_argument("--public", action="store_true", help="let all see a model that is made (default: private)")
    parser.add_argument(
        "--no-passport", action="store_true", help="leave out the passports, which describe machine, paths and code"
    )


def _push(given: argparse.Namespace) -> None:
    from panoptic_segformer.weights.exchange import push

    options = {"scores": given.scores, "is_public": given.public, "with_passports": not given.no_passport}
    push(given.weights, given.repository, given.license, **options)


def _add_pull(commands: "_Commands") -> None:
    parser = _add(
        commands,
        _pull,
        "download weights from the Hugging Face hub, with what belongs to them",
        "owner/name@main --out pretrained/name",
    )
    parser.add_argument("address", help="owner/name or owner/name@revision on the Hugging Face hub")
    parser.add_argument("--out", type=Path, help="folder to write (default: pretrained/NAME)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that differ")


def _pull(given: argparse.Namespace) -> None:
    from panoptic_segformer.weights.exchange import pull
    from panoptic_segformer.weights.hub_client import HubAddress
    from panoptic_segformer.weights.published import PRETRAINED

    address = HubAddress.require(given.address)
    pull(address, given.out or PRETRAINED / address.repository.rpartition("/")[2], given.overwrite)


if __name__ == "__main__":
    main()
