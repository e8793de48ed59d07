"""A passport as a JSON document: sections, a chain of digests over them, the passport it builds on, a signature.

The chain starts from the last digest of the parent. Each digest covers one section and the digest before it, so that
the first link that does not fit names the section that was edited. Whoever recomputes all digests leaves no trace in
the chain; against that help a signature, and the checks that repeat the work.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, read_json, write_json
from panoptic.passport.signature import Signature, SigningKey

FORMAT = "panoptic-passport/1"
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "weights": ("files", "data", "splits", "code", "machine", "settings", "training", "usage"),
    "results": ("files", "code", "machine", "settings", "metrics", "usage"),
    "export": ("files", "code", "machine", "settings"),
}
"""The sections of each type of passport, in the order of the chain."""
_FIELDS = {"format", "type", "parent", "sections", "chain", "signature"}


@dataclass(frozen=True)
class Passport:
    """A passport that was read or is about to be written; `chain` has the digest of each section by its name."""

    type: str
    sections: Mapping[str, object]
    chain: Mapping[str, str]
    parent: "Passport | None"
    signature: Signature | None
    where: str

    @property
    def head(self) -> str:
        """The last digest, which covers everything but the signature."""
        return list(self.chain.values())[-1]

    @property
    def weights(self) -> "Passport":
        """The passport of the weights that this one builds on, or itself."""
        return self.parent.weights if self.parent else self

    def section(self, name: str) -> JsonObject:
        """Return a section. Raises `DatasetError` if it is missing."""
        return JsonObject(self.sections, self.where).child(name)

    def broken_link(self) -> str | None:
        """Describe the first section whose digest is not the one in the chain; None if all fit."""
        expected = digest_chain(self.type, self.sections, self.parent.head if self.parent else "")
        if list(expected) != list(self.chain):
            return f"the chain has links for {', '.join(self.chain)}, expected {', '.join(expected)}"
        for name, digest in expected.items():
            if self.chain[name] != digest:
                found = f"section '{name}' or what comes before it was edited"
                return f"{found}: its digest is {digest[:16]}, the chain says {self.chain[name][:16]}"
        return None

    def to_json(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "type": self.type,
            "parent": self.parent.to_json() if self.parent else None,
            "sections": dict(self.sections),
            "chain": dict(self.chain),
            "signature": self.signature.to_json() if self.signature else None,
        }


def seal(type_: str, sections: Mapping[str, object], parent: Passport | None = None) -> Passport:
    """Chain the sections of a new passport, and sign it if the environment names a key."""
    plain: dict[str, object] = json.loads(_canonical(dict(sections)))
    ordered = {name: plain[name] for name in _SECTIONS[type_]}
    chain = digest_chain(type_, ordered, parent.head if parent else "")
    passport = Passport(type_, ordered, chain, parent, None, f"passport of {type_}")
    key = SigningKey.from_environment()
    return replace(passport, signature=key.sign(passport.head)) if key else passport


def signed(passport: Passport, key: SigningKey) -> Passport:
    """Return a passport that is signed by a key. Raises `ValueError` if it is signed by another one."""
    signature, found = key.sign(passport.head), passport.signature
    if found and found.key != signature.key:
        raise ValueError(
            f"{passport.where}: is signed by the key {found.fingerprint}, whose owner answers for it; a second "
            "signature has no place there"
        )
    return replace(passport, signature=signature)


def digest_chain(type_: str, sections: Mapping[str, object], start: str) -> dict[str, str]:
    """Compute the digest of every section, in the order of its type, from the last digest of the parent."""
    digest, chain = start, dict[str, str]()
    for name in _SECTIONS[type_]:
        content = _canonical([FORMAT, type_, digest, name, sections[name]])
        digest = chain[name] = hashlib.sha256(content).hexdigest()
    return chain


def write_passport(path: Path, passport: Passport) -> None:
    """Write a passport, completely or not at all."""
    write_json(path, passport.to_json())


def read_passport(path: Path) -> Passport:
    """Read a passport without checking its digests.

    Raises:
        DatasetError: it is no passport, or fields are missing or were added.
    """
    return _parse(read_json(path))


def _parse(document: JsonObject) -> Passport:
    if document.values.get("format") != FORMAT:
        found = f"has format {document.values.get('format')!r}, expected {FORMAT!r}"
        raise DatasetError(f"{document.where}: {found}; give a passport that this version wrote")
    type_, sections, chain = document.text("type"), document.child("sections"), document.child("chain")
    if type_ not in _SECTIONS:
        raise DatasetError(f"{document.where}: type {type_!r}, expected one of {', '.join(_SECTIONS)}")
    _require_fields(document, _FIELDS)
    _require_fields(sections, set(_SECTIONS[type_]))
    _require_fields(chain, set(_SECTIONS[type_]))
    return Passport(
        type_,
        {name: sections.values[name] for name in _SECTIONS[type_]},
        {name: chain.text(name) for name in chain.values},
        _parse(document.child("parent")) if document.has("parent") else None,
        Signature.from_json(document.child("signature")) if document.has("signature") else None,
        document.where,
    )


def _require_fields(document: JsonObject, expected: set[str]) -> None:
    if different := set(document.values) ^ expected:
        what = ", ".join(f"'{name}' {'added' if name in document.values else 'missing'}" for name in sorted(different))
        raise DatasetError(f"{document.where}: fields differ from those of a passport: {what}; restore the file")


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
