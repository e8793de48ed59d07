"""A real run of the pipeline's stages on a few images of `mini`, with code of its own in a git repository."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from panoptic.passport.document import Passport, seal, write_passport
from panoptic.passport.origin import CODE

ROOT = Path(__file__).parents[3]
TRAIN_IMAGES, VAL_IMAGES = 16, 8
PARAMS: dict[str, dict[str, object]] = {
    "dataset": {"name": "part", "root": "datasets/part"},
    "annotate": {"semantic": False, "categories": "original"},
    "model": {
        "backbone": "tiny",
        "backbone_norm": "group",
        "frozen_stages": 0,
        "channels": 32,
        "heads": 2,
        "levels": 3,
        "points": 2,
        "encoder_layers": 1,
        "location_layers": 1,
        "thing_mask_layers": 1,
        "stuff_mask_layers": 1,
        "feedforward": 32,
        "mask_feedforward": 32,
        "queries": 8,
        "selected_queries": 8,
    },
    "train": {
        "initial_weights": "random",
        "seed": 0,
        "epochs": 5,
        "batch_size": 4,
        "images_per_forward": 4,
        "learning_rate": 2e-3,
        "workers": 0,
        "log_every": 1,
        "save_every": 100,
        "validate_every": 100,
        "ema_decay": 0.9,
        "augmentation": {"resize_shorter": [], "crop_probability": 0},
    },
    # So low that a network of a few steps finds segments.
    "predict": {"shorter": 64, "longer": 80, "batch_size": 4, "images": 0, "merging": {"score_threshold": 0.005}},
    "evaluate": {"bootstrap": 50},
}


def write_part(root: Path) -> None:
    """Write the first images of `mini` as a dataset of its own."""
    for split, count in (("train", TRAIN_IMAGES), ("val", VAL_IMAGES)):
        mini = ROOT / "data/mini"
        document = json.loads((mini / f"annotations/panoptic_{split}.json").read_text())
        images = document["images"][:count]
        kept = {image["id"] for image in images}
        annotations = [annotation for annotation in document["annotations"] if annotation["image_id"] in kept]
        masks = root / "annotations" / f"panoptic_{split}"
        masks.mkdir(parents=True)
        (root / split).mkdir()
        listed = json.dumps(document | {"images": images, "annotations": annotations})
        (root / "annotations" / f"panoptic_{split}.json").write_text(listed)
        for image in images:
            shutil.copyfile(mini / split / image["file_name"], root / split / image["file_name"])
        for annotation in annotations:
            source = mini / "annotations" / f"panoptic_{split}" / annotation["file_name"]
            shutil.copyfile(source, masks / annotation["file_name"])


def make_repository(folder: Path) -> str:
    """Copy the code into a repository of its own, with settings; return the hash of an earlier commit with other code.

    The working tree has a change and a new file that are not committed, in code that training does not import.
    """
    folder.mkdir(parents=True)
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "--", *CODE, ".gitignore", ".dvc", ".dvcignore")
    for name in filter(None, listed.split("\n")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    link_compiled(folder)
    write_settings(folder, PARAMS)
    losses = folder / "model/training/losses.py"
    text = losses.read_text()
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    losses.write_text(f"{text}\n# An earlier version.\n")
    commit(folder, "Begin")
    earlier = run(folder, "git", "rev-parse", "HEAD").strip()
    losses.write_text(text)
    commit(folder, "Continue")
    changed = folder / "model/export/sizes.py"
    changed.write_text(f"{changed.read_text()}\n# Not committed.\n")
    (folder / "model/export/new_file.py").write_text('"""Not known to git."""\n')
    return earlier


def write_settings(folder: Path, settings: Mapping[str, Mapping[str, object]]) -> None:
    """Write params.yaml: the shipped sections, of which some are replaced. JSON is YAML."""
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    (folder / "params.yaml").write_text(json.dumps(shipped | dict(settings)))


def link_compiled(folder: Path) -> None:
    """Link the compiled cores, which git ignores."""
    for pattern in ("panoptic/*/_*.so", "model/ops/_*.so"):
        for path in ROOT.glob(pattern):
            (folder / path.relative_to(ROOT)).symlink_to(path)


def commit(folder: Path, message: str) -> None:
    """Commit everything."""
    run(folder, "git", "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run(folder, "git", *author, "commit", "--quiet", "--message", message)


def command_of(stage: str) -> list[str]:
    """Return the command of a stage of dvc.yaml."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return [sys.executable, *stages[stage]["cmd"].split()[1:]]


def run_stage(folder: Path, stage: str, *more: str, variables: Mapping[str, str] | None = None) -> None:
    """Run the command of a stage in a copy of the project."""
    command = [word for word in command_of(stage) if word != "--manifest" and word != "runs/download/manifest.json"]
    run(folder, *command, *more, variables=variables)


def run(folder: Path, *command: str, variables: Mapping[str, str] | None = None) -> str:
    """Run a command that must succeed, and return its output."""
    environment = {**os.environ, "PYTHONPATH": str(folder), **(variables or {})}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_run(folder: Path, key: Path) -> str:
    """Run the stages from the dataset to the passport of the results, signed; return the earlier commit."""
    earlier = make_repository(folder)
    write_part(folder / "datasets/part")
    for stage in ("annotate", "train", "predict", "evaluate", "passport"):
        run_stage(folder, stage, variables={"PANOPTIC_KEY": str(key)})
    return earlier


def reseal(path: Path, passport: Passport, sections: Mapping[str, object], parent: Passport | None) -> Passport:
    """Write a passport with other sections, all digests computed anew, as a careful forger would."""
    sealed = seal(passport.type, {**passport.sections, **sections}, parent)
    write_passport(path, sealed)
    return sealed


def key_pair(folder: Path, name: str) -> Path:
    """Make an OpenSSH key and return the path of the private one; the public one ends in `.pub`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key, path = Ed25519PrivateKey.generate(), folder / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    path.with_name(f"{name}.pub").write_text(f"{public} test\n")
    return path


def verify_command(
    folder: Path, *more: str, model: Path = Path("runs/train/model.safetensors")
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run `model.verify` as a program; return its status, and verdict and detail of each check by its name."""
    command = (sys.executable, "-m", "model.verify", str(model), "--json", *more)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {check["name"]: (check["verdict"], check["detail"]) for check in json.loads(done.stdout)}


def shown(checks: Mapping[str, tuple[str, str]], verdicts: Sequence[str] = ("FAILED", "not made")) -> list[str]:
    """Return the checks with some verdicts as lines."""
    return [f"{name}: {verdict}: {detail}" for name, (verdict, detail) in checks.items() if verdict in verdicts]
