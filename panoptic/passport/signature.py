"""Ed25519 signatures of passports by a user's own OpenSSH key.

PANOPTIC_KEY=~/.ssh/id_ed25519 dvc repro
panoptic weights sign runs/train --key ~/.ssh/id_ed25519
"""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject
from panoptic.io.reading import read_file

VARIABLE = "PANOPTIC_KEY"
_PURPOSE = b"panoptic passport\0"
"""Precedes what is signed, so that no signature for another purpose passes for one of a passport."""
_TYPE = "ssh-ed25519"


@dataclass(frozen=True)
class Signature:
    """A signature, and the public key in OpenSSH's form (`ssh-ed25519 AAAA...`)."""

    key: str
    value: bytes

    @classmethod
    def from_json(cls, document: JsonObject) -> "Signature":
        try:
            return cls(document.text("key"), base64.b64decode(document.text("value"), validate=True))
        except binascii.Error as error:
            raise DatasetError(f"{document.where}: the signature is not base64 ({error}); restore the file") from None

    def to_json(self) -> dict[str, str]:
        return {"key": self.key, "value": base64.b64encode(self.value).decode()}

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key as `ssh-keygen -l` prints it."""
        return fingerprint_of(self.key)

    def signs(self, head: str) -> bool:
        """Tell whether this is a signature of `head` by its key."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_ssh_public_key

        try:
            key = load_ssh_public_key(self.key.encode())
            if not isinstance(key, Ed25519PublicKey):
                return False
            key.verify(self.value, _PURPOSE + head.encode())
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """A private key file in OpenSSH's form, without a passphrase; `option` says how it was given, for messages."""

    path: Path
    option: str = "--key "

    @classmethod
    def from_environment(cls) -> "SigningKey | None":
        """The key that `PANOPTIC_KEY` names, if it is set."""
        path = os.environ.get(VARIABLE)
        return cls(Path(path).expanduser(), f"{VARIABLE}=") if path else None

    def sign(self, head: str) -> Signature:
        """Sign the last digest of a passport. Raises `ValueError` if the file holds no key that can be used."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

        where = f"{self.option}{self.path}"
        try:
            key = load_ssh_private_key(read_file(self.path), password=None)
        except (TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise ValueError(f"{where}: no OpenSSH private key without a passphrase ({error}); {_REMEDY}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{where}: not an Ed25519 key; {_REMEDY}")
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return Signature(public, key.sign(_PURPOSE + head.encode()))


_REMEDY = "make one with: ssh-keygen -t ed25519 -N '' -f FILE"


def read_public_key(path: Path) -> str:
    """Read a public key (`id_ed25519.pub`) without its comment. Raises `DatasetError` if it is none of Ed25519."""
    words = read_file(path).decode(errors="replace").split()
    if len(words) < 2 or words[0] != _TYPE:
        raise DatasetError(f"{path}: not a public Ed25519 key of OpenSSH; give the .pub file of the signer's key")
    return f"{words[0]} {words[1]}"


def fingerprint_of(key: str) -> str:
    """The fingerprint of a public key as `ssh-keygen -l` prints it."""
    try:
        digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    except (IndexError, ValueError):
        return "of no key"
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
