"""Compare our network with recorded outputs of the published code, without a weight file.

    python -m benchmarks.official_parity --model r50 --keys keys_r50.json --recorded fwd_r50_a.npz

Weights and images are made by the rules behind the recordings (`benchmarks.official_parity.rules`). Every array
of the recording is compared, one that is not known is an error. The exit status is 1 if anything is outside its
tolerance. Padded images are merged as the published code does, without cropping their padding.
"""

import argparse
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.official_parity.checks import Array, Check, check_network
from benchmarks.official_parity.forward import SCORE_THRESHOLDS, Forward, network_by_rule, read_entries, run
from benchmarks.official_parity.images import check_image, equal_pixels, pairs_of
from benchmarks.official_parity.rules import CASES
from model.weights.official.models import CONFIGS
from panoptic.io.errors import DatasetError
from panoptic.runtime.cli import run_command


def run_recorded(model: str, keys: Path, recorded: Mapping[str, Array], case: str) -> Forward:
    """Run a published network on the images of a recording.

    Args:
        model: a key of `CONFIGS`.
        keys: JSON file with the entries of its published checkpoint.
        recorded: the arrays of the recording; only its selected queries are used, to decide near ties.
        case: of the recording, a key of `CASES`.
    """
    network = network_by_rule(model, read_entries(keys), str(keys))
    pairs = tuple(pairs_of(recorded, index) for index in range(len(CASES[case].valid)))
    return run(network, CASES[case], pairs, SCORE_THRESHOLDS[model])


def check_all(recorded: Mapping[str, Array], forward: Forward) -> list[Check]:
    """What `check_array` says about every array of a recording."""
    return [check for name in recorded for check in check_array(name, recorded, forward)]


def check_array(name: str, recorded: Mapping[str, Array], forward: Forward) -> list[Check]:
    """One check or two for one array of a recording; an array that is not known fails."""
    whole = check_network(name, recorded[name], forward)
    found = [whole] if whole else check_image(name, recorded, forward)
    return found or [Check(name, float("inf"), 0, "unknown array; nothing was compared")]


def read_recording(path: Path) -> dict[str, Array]:
    """The arrays of a `.npz` file; no pickles."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            recorded = dict(arrays)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; check the path") from None
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"{path}: is no .npz recording, or damaged ({error}); fetch it again") from None
    if not recorded:
        raise DatasetError(f"{path}: holds no arrays; fetch it again")
    return recorded


def case_of(path: Path, given: str | None) -> str:
    """The case of a recording: as given, else the last letter of its file name."""
    case = given or path.stem[-1:]
    if case not in CASES:
        raise DatasetError(f"{path}: the last letter of the name is no case; give --case {' or '.join(CASES)}")
    return case


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for every array; exit with status 1 if one is outside its tolerance."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.official_parity", description=__doc__)
    parser.add_argument("--model", choices=CONFIGS, required=True)
    parser.add_argument("--keys", type=Path, required=True, help="keys_*.json with the entries of the checkpoint")
    parser.add_argument("--recorded", type=Path, required=True, help="fwd_*.npz with the recorded arrays")
    parser.add_argument("--case", choices=CASES, help="default: the last letter of the recording's file name")
    options = parser.parse_args(arguments)
    run_command(lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    case = case_of(options.recorded, options.case)
    recorded = read_recording(options.recorded)
    forward = run_recorded(options.model, options.keys, recorded, case)
    checks = check_all(recorded, forward)
    print(f"{'array':34} {'error':>9} {'tolerance':>9}")
    for check in checks:
        verdict = "pass" if check.passed else "FAIL"
        print(f"{check.name:34} {check.error:9.2g} {check.tolerance:9.2g}  {verdict}  {check.remark}".rstrip())
    for index, share in equal_pixels(recorded, forward).items():
        print(f"img{index}: {share:.3%} of the panoptic pixels are equal")
    failed = [check.name for check in checks if not check.passed]
    if failed:
        print(f"{len(failed)} of {len(checks)} checks failed: {', '.join(dict.fromkeys(failed))}")
        sys.exit(1)
    print(f"all {len(checks)} checks passed")


if __name__ == "__main__":
    main()
