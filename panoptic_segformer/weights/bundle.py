"""Weights with their passport and the results made with them, all held against their digests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from model.verify.check import FAILED
from model.verify.documents import check_files, check_signature
from model.weights.checkpoint import Checkpoint, load_checkpoint
from model.weights.description import encode_description, metadata_path
from panoptic.io.json_fields import JsonObject, encode_json, read_json
from panoptic.passport.digests import digest_of
from panoptic.passport.document import Passport, read_passport
from panoptic.passport.results import read_parent
from panoptic.passport.training import passport_path
from panoptic.runtime.fingerprint import file_digest
from panoptic_segformer.weights import names

_SCORES = (names.METRICS, names.PER_CLASS)


@dataclass(frozen=True)
class Bundle:
    """Weights whose digests fit, with everything that is known of them."""

    weights: Path
    checkpoint: Checkpoint
    passport: Passport | None
    results: Passport | None
    """Passport of the results, which holds that of the weights."""
    scores: Mapping[str, Path]
    """The files of scores that there are, by name."""

    @property
    def has_sealed_scores(self) -> bool:
        """True if a passport says that the scores are of these weights."""
        return self.results is not None and bool(self.scores)

    def read(self, name: str) -> JsonObject | None:
        """Read a file of scores; None if there is none."""
        return read_json(self.scores[name]) if name in self.scores else None

    def files(self, with_passports: bool) -> dict[str, Path | bytes]:
        """Everything to share but the card, by name."""
        shared: dict[str, Path | bytes] = {
            names.WEIGHTS: self.weights,
            names.CATEGORIES: encode_json(self.checkpoint.categories.to_json()),
            names.DESCRIPTION: metadata_path(self.weights),
            **self.scores,
        }
        if not metadata_path(self.weights).is_file():
            shared[names.DESCRIPTION] = encode_description(self.checkpoint, file_digest(self.weights))
        if with_passports and self.passport:
            shared[names.PASSPORT] = passport_path(self.weights)
        if with_passports and self.results:
            shared[names.RESULTS_PASSPORT] = Path(self.results.where)
        return shared


def open_bundle(weights: Path, scores: Path | None = None) -> Bundle:
    """Find what belongs to weights, and hold all of it against its digests.

    Args:
        weights: safetensors file. Its passport is beside it; that of the results beside it or one folder up.
        scores: folder that `stages.evaluate` wrote, of weights without a passport of results.

    Raises:
        ValueError: something is damaged, or belongs to other weights.
    """
    checkpoint = load_checkpoint(weights)
    if not (checkpoint.digest or checkpoint.tensors_digest):
        raise ValueError(f"{weights}: has no digest, as an earlier version wrote it; train or convert it again")
    passport = read_parent(weights)
    results = _results(weights, passport) if passport else None
    if results and scores:
        raise ValueError(f"--scores is {scores}, but {results.where} already says what was scored; leave it out")
    for document, path in ((passport, passport_path(weights)), (results, Path(results.where) if results else weights)):
        if document:
            _require_sound(document, path)
    found = dict(_sealed_scores(results)) if results else {}
    if scores:
        found = {name: path for name in _SCORES if (path := scores / PurePosixPath(name).name).is_file()}
        if names.METRICS not in found:
            raise ValueError(f"{scores}: has no metrics.json; give the folder that stages.evaluate wrote")
    return Bundle(weights, checkpoint, passport, results, found)


def _results(weights: Path, passport: Passport) -> Passport | None:
    folder = weights.absolute().parent  # not resolved: the hub's cache has links to files elsewhere
    places = (parent / names.RESULTS_PASSPORT for parent in (folder, folder.parent))
    path = next((path for path in places if path.is_file()), None)
    results = read_passport(path) if path else None
    if results is None or results.type != "results":
        return None
    if results.parent is None or results.parent.to_json() != passport.to_json():
        raise ValueError(f"{path}: is of the results of other weights than {weights}; run `dvc repro`, or remove it")
    return results


def _require_sound(passport: Passport, path: Path) -> None:
    if broken := passport.broken_link():
        raise ValueError(f"{path}: {broken}; restore the file, or run again")
    for check in (check_signature(passport, None), check_files(passport, path)):
        if check.verdict == FAILED:
            raise ValueError(f"{path}: {check.name}: {check.detail}; restore the files, or run again")


def _sealed_scores(results: Passport) -> Iterator[tuple[str, Path]]:
    """The files of scores that a passport lists, where it says that they are, or where they are shared."""
    folder, listed = Path(results.where).parent, results.section("files")
    for name in _SCORES:
        what = f"scores/{PurePosixPath(name).name}"
        if not listed.has(what):
            continue
        entry = listed.child(what)
        path = next((path for path in (folder / entry.text("path"), folder / name) if path.is_file()), None)
        if path is None:
            continue
        if digest_of(path) != entry.text("sha256"):
            raise ValueError(f"{path}: has another digest than {results.where} lists; restore the file, or score again")
        yield name, path
