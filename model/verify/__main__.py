"""Verify weights, and the results made with them, against their passports.

    python -m model.verify runs/train/model.safetensors

All digests are checked, the stored predictions are scored again, a random sample of images is predicted again, and the
first training steps are repeated from the initial seed. On a machine of the kind that trained, every bit must be equal;
elsewhere tolerances apply, and what differs is named. Also verifies exports: give one of the exported files.
The exit status is 0 if no check failed, 1 if one did; "not made" tells what could not be checked and why.
"""

import argparse
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from model.training.first_steps import STEPS
from model.verify.check import FAILED, NOT_MADE, OK, Check, Run
from model.verify.code import check_code
from model.verify.documents import (
    check_chain,
    check_data,
    check_description,
    check_files,
    check_metrics,
    check_signature,
    check_steps,
)
from model.verify.predictions import check_predictions
from model.verify.replay import check_replay
from model.verify.scores import check_last_validation, check_scores
from panoptic.io.errors import DatasetError
from panoptic.io.reading import require_file
from panoptic.passport.document import Passport, read_passport
from panoptic.passport.signature import read_public_key
from panoptic.passport.training import passport_path
from panoptic.runtime.cli import run_command
from panoptic.runtime.fingerprint import PROJECT


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    given = _parser().parse_args(argv)
    failed: list[Check] = []

    def command() -> None:
        started = time.monotonic()
        checks = verify(given)
        failed.extend(check for check in checks if check.verdict == FAILED)
        if given.json:
            print(json.dumps([asdict(check) for check in checks], indent=1))
        made = sum(check.verdict != NOT_MADE for check in checks)
        seconds = time.monotonic() - started
        print(
            f"{made} of {len(checks)} checks made, {len(failed)} failed, in {seconds:.0f} s",
            file=sys.stderr if given.json else sys.stdout,
        )

    run_command(command)
    sys.exit(1 if failed else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.verify", description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="safetensors file that stages.train wrote, or an exported file")
    parser.add_argument("--results", type=Path, help="passport of the results (default: ../passport.json, if there)")
    parser.add_argument("--data", type=Path, help="folder that the paths of data in the passport are relative to")
    parser.add_argument("--pretrained", type=Path, default=Path("pretrained"), help="folder of ImageNet weights")
    parser.add_argument("--repository", type=Path, default=PROJECT, help="git repository with the commit of the run")
    parser.add_argument("--key", type=Path, help="public key (.pub) that must have signed the passports")
    parser.add_argument(
        "--steps", type=int, default=4, help=f"steps to replay, up to {STEPS[-1]}; 0: none (default: 4)"
    )
    parser.add_argument("--images", type=int, default=16, help="images to predict again; 0: none (default: 16)")
    parser.add_argument("--seed", type=int, help="of the sample of images (default: another one every time)")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    return parser


def verify(given: argparse.Namespace) -> list[Check]:
    """Make all checks, and print each as soon as it is made."""
    for name in ("steps", "images"):
        if getattr(given, name) < 0:
            raise ValueError(f"--{name} is {getattr(given, name)}; give 0 or more")
    run = _open(given)
    key = read_public_key(given.key) if given.key else None
    pretrained, repository = given.pretrained.resolve(), given.repository.resolve()
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    checks = []
    with contextlib.chdir(given.data or Path()):
        for check in _checks(run, key, repository, pretrained, (given.steps, given.images, seed)):
            checks.append(check)
            if not given.json:
                print(f"{check.verdict:9}{check.name:34}{check.detail}", flush=True)
    return checks


def _open(given: argparse.Namespace) -> Run:
    """Find and read the passports that belong to a file."""
    model: Path = given.weights.resolve()
    beside = passport_path(model) if passport_path(model).is_file() else model.with_name("passport.json")
    if not beside.is_file():
        require_file(given.weights)
        raise DatasetError(f"{given.weights}: there is no passport at {passport_path(given.weights)}; copy it along")
    passport = read_passport(beside)
    if passport.type == "export":
        return Run(passport.weights, passport, beside, beside, model)
    results = given.results.resolve() if given.results else _results_path(beside)
    if not results.is_file():
        if given.results:
            raise DatasetError(f"{given.results}: there is no such file; check the path")
        return Run(passport, None, beside, None, model)
    return Run(passport, read_passport(results), beside, results, model)


def _results_path(weights_passport: Path) -> Path:
    """The path of the passport of the results, seen from that of the weights."""
    return weights_passport.parent.parent / "passport.json"


def _checks(
    run: Run, key: str | None, repository: Path, pretrained: Path, amounts: tuple[int, int, int]
) -> Iterator[Check]:
    steps, images, seed = amounts
    is_export = run.results is not None and run.results.type == "export"
    if not is_export:
        yield from _passport_checks(run.weights, run.weights_passport, key, repository)
    if run.results is not None and run.results_passport is not None:
        yield from _passport_checks(run.results, run.results_passport, key, repository)
        if is_export:
            yield _made("chain of the weights", lambda: check_chain(run.weights))
            return
        yield _same_weights(run)
    else:
        missing = _results_path(run.weights_passport)
        yield Check("results", NOT_MADE, f"{missing} is missing; `dvc repro passport` writes it")
    yield from _collected("data", lambda: check_data(run))
    yield _made("description of the weights", lambda: check_description(run))
    yield _made("number of steps", lambda: check_steps(run))
    if run.results is not None:
        yield _made("metrics", lambda: check_metrics(run))
        yield _made("scores", lambda: check_scores(run))
        yield _made("last validation", lambda: check_last_validation(run))
        if images:
            yield _made("prediction", lambda: check_predictions(run, images, seed))
    if steps:
        yield _made("replay", lambda: check_replay(run, steps, pretrained))


def _passport_checks(passport: Passport, path: Path, key: str | None, repository: Path) -> Iterator[Check]:
    yield check_chain(passport)
    yield check_signature(passport, key)
    yield _made(f"files of the {passport.type}", lambda: check_files(passport, path))
    yield _made(f"code of the {passport.type}", lambda: check_code(passport, repository))


def _same_weights(run: Run) -> Check:
    """Compare the passport inside that of the results with the one beside the weights."""
    assert run.results is not None
    name, parent = "parent of the results", run.results.parent
    if parent is None:
        return Check(name, NOT_MADE, "the results were made with weights that had no passport")
    if parent.to_json() != run.weights.to_json():
        found = f"its last digest is {parent.head[:16]}, that of the weights {run.weights.head[:16]}"
        return Check(name, FAILED, f"it is another passport than the one beside the weights: {found}")
    return Check(name, OK, "the passport beside the weights")


def _made(name: str, check: Callable[[], Check]) -> Check:
    """Make a check; wrong input, which a damaged file is, makes it fail."""
    try:
        return check()
    except (ValueError, OSError, KeyError) as error:
        return Check(name, FAILED, str(error))


def _collected(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except (ValueError, OSError, KeyError) as error:
        yield Check(name, FAILED, str(error))


if __name__ == "__main__":
    main()
