"""Sharing weights: `push` uploads what belongs to them, `pull` brings it back, both only if the digests fit."""

from pathlib import Path

from panoptic.io.errors import shown_ids
from panoptic.io.files import write_together
from panoptic.io.reading import read_file
from panoptic_segformer.weights import names
from panoptic_segformer.weights.bundle import Bundle, open_bundle
from panoptic_segformer.weights.card import LICENSES, CardRequest, license_of, write_card
from panoptic_segformer.weights.hub import download, upload
from panoptic_segformer.weights.hub_client import HubAddress
from panoptic_segformer.weights.sources import local_weights


def push(
    source: Path,
    repository: str,
    license_id: str | None,
    *,
    scores: Path | None = None,
    is_public: bool = False,
    with_passports: bool = True,
) -> HubAddress:
    """Upload weights and everything that belongs to them, and return the address of the commit.

    Args:
        source: weights, or their folder.
        repository: `owner/name` on the hub; is made if there is none.
        license_id: for the card that is written, unless there is a README.md of these weights beside them.
        scores: see `open_bundle`.
        is_public: whether all may see it, if it is made.
        with_passports: also upload the passports, which describe the machine and hold uncommitted changes of the code.

    Raises:
        ValueError: digests do not fit, there is no license, or the hub refuses.
    """
    address = HubAddress.require(repository)
    if address.revision != "main":
        raise ValueError(f"{repository}: weights are pushed to the main branch; leave out @{address.revision}")
    bundle = open_bundle(local_weights(source), scores)
    card = _card(bundle, CardRequest(license_id or "", address.repository))
    files = {**bundle.files(with_passports), names.CARD: card}
    stale = [name for name in names.SHARED if name not in files]
    pushed = upload(address, files, stale, is_public)
    print(f"pushed {', '.join(files)} to {pushed}")
    return pushed


def _card(bundle: Bundle, request: CardRequest) -> bytes:
    """The card beside the weights, which somebody may have edited, or else a new one."""
    beside = bundle.weights.with_name(names.CARD)
    if not beside.is_file():
        if not request.license:
            raise ValueError(
                f"nothing says under which license these weights may be used; give --license, one of {LICENSES}"
            )
        return write_card(bundle, request).encode()
    stated = license_of(beside, bundle.checkpoint.digest or bundle.checkpoint.tensors_digest)
    if request.license not in ("", stated):
        raise ValueError(f"--license is {request.license}, but {beside} says {stated}; change one of the two")
    card = read_file(beside)
    if request.repository.encode() not in card:
        hint = (
            f"write it again with: panoptic weights card {bundle.weights} --overwrite --repository {request.repository}"
        )
        raise ValueError(f"{beside}: is not for {request.repository}; {hint}")
    return card


def pull(address: HubAddress, out: Path, overwrite: bool = False) -> Path:
    """Download weights and what belongs to them into a folder, all at once and only if their digests fit.

    Args:
        address: of the model on the hub.
        out: folder; made if there is none. Other files in it stay.
        overwrite: replace files that differ.

    Returns:
        The weights.

    Raises:
        ValueError: it cannot be fetched, digests do not fit, or other files are in the way.
    """
    fetched = download(address, names.SHARED)
    try:
        open_bundle(fetched.folder / names.WEIGHTS)
    except ValueError as error:
        hint = f"if it was damaged on the way, remove {fetched.folder.parents[1]} and pull again"
        raise ValueError(
            f"{fetched.address}: what arrived is not what was pushed: {error}; nothing was written; {hint}; otherwise "
            "its owner has to push it again"
        ) from error
    contents = {name: fetched.folder / name for name in names.SHARED if (fetched.folder / name).is_file()}
    changed = {
        name: path for name, path in contents.items() if not (out / name).is_file() or not _same(out / name, path)
    }
    if (in_the_way := [name for name in changed if (out / name).exists()]) and not overwrite:
        differ = "is there and differs" if len(in_the_way) == 1 else "are there and differ"
        there = f"{shown_ids(in_the_way, 3)} {differ}"
        raise ValueError(f"{out}: {there} from {fetched.address}; give --overwrite, or another --out")
    with write_together() as files:
        for name, path in changed.items():
            files.write(out / name, read_file(path))
    left = f"; not pulled: {shown_ids(fetched.left_out, 3)}" if fetched.left_out else ""
    print(f"{out}: {', '.join(contents)} of {fetched.address}, whose digests fit{left}")
    return out / names.WEIGHTS


def _same(first: Path, second: Path) -> bool:
    return first.stat().st_size == second.stat().st_size and read_file(first) == read_file(second)
