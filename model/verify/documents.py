"""Checks of the passports themselves, of the files that they list, and of whether these fit together."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from model.network.config import NetworkConfig
from model.training.sampling import steps_per_epoch
from model.training.settings import TrainSettings
from model.verify.check import FAILED, NOT_MADE, OK, Check, Run, compare_json, first, last_row, settings_of
from model.weights.description import load_description, metadata_path
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, parse_json, read_json
from panoptic.passport.digests import LARGEST_LIST, SplitDigest, digest_of, digest_split, unpack
from panoptic.passport.document import Passport
from panoptic.passport.signature import fingerprint_of
from panoptic.passport.training import describe_splits

_REQUIRED = {"weights": {"weights", "description"}, "results": {"predictions/panoptic.json", "scores/metrics.json"}}
"""Files that a passport of each type must list."""


def check_chain(passport: Passport) -> Check:
    """Compare the digest of every section with the chain, through all parents."""
    name = f"chain of the {passport.type}"
    if broken := passport.broken_link():
        return Check(name, FAILED, broken)
    return Check(name, OK, f"{len(passport.chain)} sections; the last digest is {passport.head[:16]}")


def check_signature(passport: Passport, expected_key: str | None) -> Check:
    """Check the signature, and that it is by the expected key if one was given."""
    name, signature = f"signature of the {passport.type}", passport.signature
    expected = f"expected one by {fingerprint_of(expected_key)}" if expected_key else ""
    if signature is None:
        return Check(name, FAILED, f"there is none; {expected}") if expected else Check(name, NOT_MADE, _UNSIGNED)
    if not signature.signs(passport.head):
        return Check(name, FAILED, f"it is not one of these digests by the key {signature.fingerprint}")
    if expected_key and signature.key != expected_key:
        return Check(name, FAILED, f"it is by the key {signature.fingerprint}; {expected}")
    trusted = "as expected" if expected_key else "whose owner you have to know: give the public key with --key"
    return Check(name, OK, f"by the key {signature.fingerprint}, {trusted}")


_UNSIGNED = "there is none: somebody who recomputes every digest could have edited the passport"


def check_files(passport: Passport, location: Path) -> Check:
    """Digest all files that a passport lists; those that are not there are named."""
    listed, name = passport.section("files"), f"files of the {passport.type}"
    missing, wrong = [], [f"{what} is not listed" for what in _REQUIRED.get(passport.type, set()) - set(listed.values)]
    for what in listed.values:
        entry = listed.child(what)
        path = location.parent / entry.text("path")
        if not path.exists():
            missing.append(entry.text("path"))
        elif (found := digest_of(path)) != entry.text("sha256"):
            wrong.append(f"{entry.text('path')} has the digest {found[:16]}, expected {entry.text('sha256')[:16]}")
    left = f"; not there: {first(missing)}" if missing else ""
    if wrong:
        return Check(name, FAILED, first(wrong) + left)
    checked = len(listed.values) - len(missing)
    return Check(name, OK if checked else NOT_MADE, f"{checked} of {len(listed.values)} as listed{left}")


def check_data(run: Run) -> Iterator[Check]:
    """Digest indices, images and masks, and compare the ids of the splits, and what they share."""
    found = dict[str, SplitDigest]()
    for split in ("train", "val"):
        index = run.data(f"{split} index")
        if not index.exists():
            yield Check(f"{split} data", NOT_MADE, f"{index} is not there; give its root with --data")
            continue
        try:
            found[split] = digest_split(index)
        except DatasetError as error:
            yield Check(f"{split} data", FAILED, str(error))
            continue
        listed, now = run.weights.section("data"), found[split].data(split)
        wrong = [
            f"{what} ({listed.child(what).text('path')}): {difference}"
            for what in now
            for difference in compare_json(now[what], listed.values.get(what))
        ]
        counted = f"index, {found[split].images.files} images and {found[split].masks.files} masks as listed"
        yield Check(f"{split} data", FAILED if wrong else OK, first(wrong) or counted)
    if len(found) == 2:
        splits, recorded = describe_splits(found), run.weights.section("splits")
        wrong = list(compare_json(_plain(splits), _plain(recorded.values)))
        wrong += [f"the list of ids of {name} is another one" for name in found if not _lists_ids(recorded.child(name))]
        shared = f"{splits['shared_images']} images are in both splits"
        yield Check("splits", FAILED if wrong else OK, first([*wrong, shared]) if wrong else shared)


def _plain(splits: Mapping[str, object]) -> dict[str, object]:
    """Leave out the compressed lists of ids, because libraries compress differently."""
    entries = {name: value if isinstance(value, Mapping) else {"": value} for name, value in splits.items()}
    return {name: {key: entry[key] for key in entry if key != "zlib"} for name, entry in entries.items()}


def _lists_ids(split: JsonObject) -> bool:
    if not split.has("zlib"):
        return True
    return hashlib.sha256(unpack(split.text("zlib"), LARGEST_LIST)).hexdigest() == split.text("sha256")


def check_description(run: Run) -> Check:
    """Compare the JSON beside the weights with the passport: network, classes, settings, steps."""
    name, passport = "description of the weights", run.weights
    description = load_description(run.model)
    settings, config = settings_of(passport, "train", TrainSettings), settings_of(passport, "model", NetworkConfig)
    steps = str(passport.section("training").integer("steps"))
    wrong = list(compare_json(asdict(description.config), asdict(config), "model"))
    written = parse_json(description.provenance.get("settings", "{}").encode(), f"{metadata_path(run.model)}: settings")
    wrong += compare_json(written, json.loads(json.dumps(asdict(settings))), "train")
    wrong += compare_json(description.provenance.get("steps"), steps, "steps")
    index = run.data("train index")
    if index.exists():
        categories = PanopticIndex.load(index).categories
        wrong += compare_json(description.categories.to_json(), categories.to_json(), "categories")
    detail = f"{metadata_path(run.model).name} has the network, settings, steps and classes of the passport"
    return Check(name, FAILED if wrong else OK, first(wrong) or detail)


def check_steps(run: Run) -> Check:
    """Compare the number of steps that settings and data give with those in the passport and the loss curve."""
    passport = run.weights
    settings = settings_of(passport, "train", TrainSettings)
    images = passport.section("splits").child("train").integer("images")
    expected = settings.epochs * steps_per_epoch(images, settings.batch_size)
    said = {"passport": passport.section("training").integer("steps")}
    if curve := run.weight_file("loss curve"):
        said["loss curve"] = int(last_row(curve)["step"])
    wrong = [f"{steps} in the {where}, expected {expected}" for where, steps in said.items() if steps != expected]
    counted = f"{settings.epochs} epochs of {images} images give {expected} steps"
    return Check("number of steps", FAILED if wrong else OK, f"{counted}: {first(wrong)}" if wrong else counted)


def check_metrics(run: Run) -> Check:
    """Compare the metrics in the passport with the files that it lists."""
    assert run.results is not None
    wrong, seen = list[str](), 0
    for name, metrics in run.results.section("metrics").values.items():
        path = run.result(name)
        if path is not None:
            seen += 1
            wrong += compare_json(read_json(path).values, metrics, name)
    return Check("metrics", FAILED if wrong else OK if seen else NOT_MADE, first(wrong) or f"{seen} files as listed")
