"""Files as trees of values, and back: every length, offset and checksum that a tree does not name is made right."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import yaml

from tests.panoptic.io.made_pngs import SIGNATURE, chunk

_LARGEST = 1 << 16  # bytes that are unpacked of a file
_HEADER = (32, 32, 8, 8, 8, 8, 8)  # bits of the numbers in the header of a PNG


@dataclass(frozen=True)
class Format:
    """How to take a file apart and to put it together; both may raise any exception for a damaged one.

    `tokens` are texts that readers of the format are sensitive to.
    """

    parse: Callable[[bytes], object]
    build: Callable[[object], bytes]
    tokens: tuple[bytes, ...] = ()


def build_json(tree: object) -> bytes:
    """Write a tree as JSON, with what JSON does not know as text."""
    return json.dumps(tree, default=str).encode()


def _parse_png(data: bytes) -> object:
    """A list of chunks: type and content, unpacked."""
    chunks: list[object] = []
    at = len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content: object = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            content = list(struct.unpack_from(">IIBBBBB", data, at + 8))
        elif kind == b"IDAT":
            content = {"rows": zlib.decompressobj().decompress(data[at + 8 : at + 8 + length], _LARGEST)}
        chunks.append([kind, content])
        at += 12 + length
    return chunks


def _build_png(tree: object) -> bytes:
    assert isinstance(tree, list)
    data = SIGNATURE
    for kind, content in tree:
        body = content
        if isinstance(content, dict):
            body = zlib.compress(content["rows"])
        elif isinstance(content, list):
            numbers = (number % (1 << bits) for number, bits in zip(content, _HEADER, strict=True))
            body = struct.pack(">IIBBBBB", *numbers)
        data += chunk(kind[:4].ljust(4), body)
    return data


def _parse_zip(data: bytes) -> object:
    """A list of entries: the fields of their headers, and their content, unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [
            {
                "name": info.filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"),
                "flags": info.flag_bits,
                "method": info.compress_type,
                "attributes": info.external_attr,
                "extra": info.extra,
                "content": archive.read(info),
                "wrong": {"crc": 0, "packed": 0, "size": 0, "offset": 0, "local_name": b""},
            }
            for info in archive.infolist()
        ]


def _build_zip(tree: object) -> bytes:
    """Put an archive together; the numbers in `wrong` are added to the right ones."""
    assert isinstance(tree, list)
    data, directory = b"", b""
    for entry in tree:
        content, method, wrong = entry["content"], entry["method"], entry["wrong"]
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = packer.compress(content) + packer.flush() if method == zipfile.ZIP_DEFLATED else content
        crc = _little(zlib.crc32(content) + wrong["crc"], 4)
        sizes = _little(len(packed) + wrong["packed"], 4) + _little(len(content) + wrong["size"], 4)
        about = _little(entry["flags"], 2) + _little(method, 2) + bytes(4) + crc + sizes
        name, extra = entry["name"], entry["extra"]
        offset = _little(len(data) + wrong["offset"], 4)
        lengths = _little(len(name), 2) + _little(len(extra), 2)
        attributes = _little(entry["attributes"], 4)
        directory += b"PK\1\2\24\3\24\0" + about + lengths + bytes(6) + attributes + offset + name + extra
        local_name = wrong["local_name"] or name
        data += b"PK\3\4\24\0" + about + _little(len(local_name), 2) + _little(len(extra), 2)
        data += local_name + extra + packed
    end = bytes(4) + 2 * _little(len(tree), 2) + _little(len(directory), 4) + _little(len(data), 4) + bytes(2)
    return data + directory + b"PK\5\6" + end


def _little(number: int, size: int) -> bytes:
    return (number % (1 << 8 * size)).to_bytes(size, "little")


def framed(parts: Sequence[bytes]) -> bytes:
    """Several files as one input."""
    return b"".join(_little(len(part), 4) + part for part in parts)


def unframed(data: bytes, count: int) -> list[bytes]:
    """The files of an input of `framed`; what is missing is empty."""
    parts = []
    for _ in range(count):
        length = int.from_bytes(data[:4], "little")
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
    return parts


def frame(formats: Sequence[Format]) -> Format:
    """The format of an input of several files."""

    def parse(data: bytes) -> object:
        return [each.parse(part) for each, part in zip(formats, unframed(data, len(formats)), strict=True)]

    def build(tree: object) -> bytes:
        assert isinstance(tree, list)
        return framed([each.build(part) for each, part in zip(formats, tree, strict=True)])

    return Format(parse, build, tuple(token for each in formats for token in each.tokens))


def plain(data: object) -> bytes:
    """Bytes without structure."""
    assert isinstance(data, bytes)
    return data


_ALIASES = b"\n".join(
    b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9 if n else [b"x"])) for n in range(9)
)
PLAIN = Format(bytes, plain)
JSON = Format(
    json.loads,
    build_json,
    (
        b"[" * 3000,
        b'{"a":' * 3000,
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b'"\\ud800"',
        b"\xff\xfe",
        b"\xef\xbb\xbf",
    ),
)
YAML = Format(
    yaml.safe_load,
    lambda tree: yaml.safe_dump(tree).encode(),
    (
        *(
            _ALIASES,
            b"[" * 3000,
            b"&a [*a]",
            b"<<: *a",
            b"!!python/object:os.system x",
            b"!!binary x",
            b".nan",
            b"-.inf",
        ),
        *(b"1e400", b"${a}", b"${oc.env:HOME}", b"${oc.decode:[}", b"???", b"\t", b"- ", b"? ", b": ", b"\n---\n"),
        *(b"2001-02-30", b"0o9", b"1:99", b"!!int x", b"!!float ''", b"!!timestamp x", b"!!set {a}", b"!!omap [a: 1]"),
        *(b"/dev/zero", b"null", b"~", b"99999999999999999999", b"-1"),
    ),
)
PNG = Format(_parse_png, _build_png, (b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"eXIf", SIGNATURE))
ZIP = Format(
    _parse_zip, _build_zip, (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"../", b"\\", b"__MACOSX/")
)
