"""Write the passport of the results: where weights, predictions and scores come from, for `model.verify` to check.

    python -m stages.passport --params params.yaml --model runs/train/model.safetensors --predictions runs/predict
        --scores runs/evaluate --robustness runs/robustness
        --instances-ground-truth runs/annotate/instances_val.json --out runs/passport.json

It holds the passport of the weights, the digests of all files of the results, and the metrics with their intervals.
With the path of an OpenSSH key in the variable `PANOPTIC_KEY` it is signed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from panoptic.passport.document import write_passport
from panoptic.passport.results import ResultFiles, seal_results
from panoptic.runtime.cli import run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.passport", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings of the run")
    for flag, purpose in {
        "--model": "weights that stages.train wrote",
        "--predictions": "folder that stages.predict wrote",
        "--scores": "folder with the files of stages.evaluate",
        "--robustness": "folder that stages.robustness wrote",
        "--instances-ground-truth": "JSON in COCO's detection format, which AP was computed with",
        "--out": "JSON file to write",
    }.items():
        parser.add_argument(flag, type=Path, required=True, help=purpose)
    given = parser.parse_args(argv)
    files = ResultFiles(given.predictions, given.scores, given.robustness, given.instances_ground_truth)

    def stage() -> None:
        passport = seal_results(given.params, given.model, files, given.out)
        write_passport(given.out, passport)
        signed = f"signed by {passport.signature.fingerprint}" if passport.signature else "not signed"
        print(f"passport of the results: {given.out}, {signed}; check it with: python -m model.verify {given.model}")

    run_command(stage)


if __name__ == "__main__":
    main()
