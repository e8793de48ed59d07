"""Checks of what a file of weights or of a training's state holds, before any of it is used."""

import hashlib
from collections.abc import Mapping
from mmap import mmap

from torch import Tensor

_SHOWN = 3
_ZIP_END, _ZIP_END_BYTES = b"PK\x05\x06", 22  # the last record of a zip file without a comment
_SEAL = b"state of a training; SHA-256 of the file without this comment: "
_SEAL_BYTES = len(_SEAL) + 64


def is_finite(tensor: Tensor) -> bool:
    """Tell whether a tensor has no NaN and no infinity; one without memory has none."""
    return tensor.is_meta or not tensor.is_floating_point() or bool(tensor.isfinite().all())


def entry_issues(state: Mapping[str, object], expected: Mapping[str, Tensor]) -> list[str]:
    """Compare names, shapes and types of tensors with those expected, and look for numbers that are not finite.

    Nothing is converted: a copy of int8 into float32 would succeed, and the weights would be zeros.
    """
    issues = [f"{name} is missing" for name in expected if name not in state]
    issues += [f"{name!s:.80} is unknown" for name in state if name not in expected]
    issues += [
        f"{name} {issue}"
        for name, wanted in expected.items()
        if name in state and (issue := _tensor_issue(state[name], wanted))
    ]
    return issues


def shown_issues(issues: list[str]) -> str:
    """Number of issues, and the first of them."""
    more = "; ..." if len(issues) > _SHOWN else ""
    return f"{len(issues)} entries differ: {'; '.join(issues[:_SHOWN])}{more}"


def _tensor_issue(value: object, wanted: Tensor) -> str:
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__}, expected a tensor"
    if value.shape != wanted.shape:
        return f"has shape {tuple(value.shape)}, expected {tuple(wanted.shape)}"
    if value.dtype != wanted.dtype:
        return f"has type {_type(value)}, expected {_type(wanted)}"
    return "" if is_finite(value) else "has NaN or infinite numbers"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def sealed(archive: bytes) -> bytes:
    """Add a comment with its SHA-256, which readers skip, to a zip file such as `torch.save` writes."""
    assert archive[-_ZIP_END_BYTES:].startswith(_ZIP_END)
    assert archive.endswith(b"\0\0")
    digest = hashlib.sha256(archive).hexdigest().encode()
    return b"".join([archive[:-2], _SEAL_BYTES.to_bytes(2, "little"), _SEAL, digest])


def seal_issue(archive: bytes | mmap) -> str | None:
    """Hold a zip file against the digest in its comment.

    Returns:
        What is wrong, empty if nothing is; None for a file without a comment, as earlier versions wrote them.
    """
    content = memoryview(archive)
    if bytes(content[-_ZIP_END_BYTES:][:4]) == _ZIP_END and bytes(content[-2:]) == b"\0\0":
        return None
    body, comment = content[: -_SEAL_BYTES - 2], bytes(content[-_SEAL_BYTES - 2 :])
    digest = hashlib.sha256(body)
    digest.update(b"\0\0")
    found, start = digest.hexdigest(), _SEAL_BYTES.to_bytes(2, "little") + _SEAL
    if comment == start + found.encode():
        return ""
    noted = comment[len(start) :].decode(errors="replace") if comment.startswith(start) else "a damaged note"
    return f"its SHA-256 is {found}, expected {noted}"
