"""Signing the passports of a run that is finished."""

from dataclasses import replace
from pathlib import Path

from panoptic.io.files import write_together
from panoptic.io.json_fields import encode_json
from panoptic.passport.document import signed
from panoptic.passport.signature import SigningKey
from panoptic.passport.training import passport_path
from panoptic_segformer.weights.bundle import open_bundle
from panoptic_segformer.weights.sources import local_weights


def sign(source: Path, key: SigningKey) -> None:
    """Sign the passport of weights and that of the results made with them, if all their files are as listed there.

    Args:
        source: weights, or their folder.
        key: of whoever answers for the numbers.

    Raises:
        ValueError: there is no passport, another key has signed it, something was changed, or the key cannot be used.
    """
    bundle = open_bundle(local_weights(source))
    if bundle.passport is None:
        raise ValueError(f"{bundle.weights}: has no passport to sign, as stages.train writes it; train again")
    passport = signed(bundle.passport, key)
    passports = {passport_path(bundle.weights): passport}
    if bundle.results:
        passports[Path(bundle.results.where)] = signed(replace(bundle.results, parent=passport), key)
    with write_together() as files:
        for path, document in passports.items():
            files.write(path, encode_json(document.to_json()))
    assert passport.signature is not None
    print(f"signed by {passport.signature.fingerprint}: {', '.join(map(str, passports))}")
    if any((folder / "dvc.yaml").is_file() for folder in bundle.weights.absolute().parents[:3]):
        print("if DVC made them: `dvc commit --force train passport`, or it would restore them without the signature")
