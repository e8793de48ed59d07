"""Downloading from and uploading to the Hugging Face hub.

What was downloaded stays in the hub's cache, from which it is taken where there is no network.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from model.comparators import folder as comparator
from panoptic.io.errors import shown_ids
from panoptic_segformer.weights import hub_client
from panoptic_segformer.weights.hub_client import LOGIN, HubAddress, HubError, UnreachableError, talking_about
from panoptic_segformer.weights.names import DESCRIPTION, WEIGHTS

_HINT = (
    "where there is a network, run `panoptic weights pull {0}`, copy the folder here, and name it instead (for weights "
    "in transformers' layout: `hf download {1} --local-dir FOLDER`)"
)


@dataclass(frozen=True)
class Fetched:
    """Files of a model on this machine."""

    folder: Path
    address: HubAddress
    """With the commit as the revision."""
    left_out: tuple[str, ...]
    """Other files of the model, which were not fetched."""


def download(address: HubAddress, names: Sequence[str], takes_comparators: bool = False) -> Fetched:
    """Fetch files of a model into the hub's cache, and say which commit they are of.

    Args:
        address: of the model; branches and tags are looked up again each time, if the hub can be reached.
        names: files to fetch, weights first, as far as there are such; all are of one commit.
        takes_comparators: fetch a model in transformers' layout instead, if it is one.

    Raises:
        HubError: there is no such model or no weights in it, or the hub cannot be reached and it is not in the cache.
    """
    hub_client.require_endpoint()
    from huggingface_hub import hf_hub_download

    try:
        listed, revision = _listed(address), address.revision
        wanted = _wanted(address, listed, names, takes_comparators)
        with talking_about(address):
            for name in wanted:
                limit = hub_client.TIMEOUT_S
                path = Path(hf_hub_download(address.repository, name, revision=revision, etag_timeout=limit))
                folder = path.parents[name.count("/")]
                revision = folder.name
    except UnreachableError as error:
        fetched = _cached(address, [*names, *comparator.LAYOUT], error)
    else:
        others = tuple(name for name in listed if name not in wanted and name != ".gitattributes")
        fetched = Fetched(folder, replace(address, revision=revision, is_explicit=True), others)
    if fetched.address.revision != address.revision:
        print(f"{address}: now {fetched.address}, by which the same weights are found again", file=sys.stderr)
    return fetched


def _listed(address: HubAddress) -> list[str]:
    """Names of all files of a model."""
    with talking_about(address) as api:
        info = api.model_info(address.repository, revision=address.revision, timeout=hub_client.TIMEOUT_S)
    names = [str(file.rfilename) for file in info.siblings or ()]
    if outside := [name for name in names if ".." in PurePosixPath(name.replace("\\", "/")).parts or name[:1] == "/"]:
        raise HubError(f"{address}: lists {outside[0]!r}, a file outside of it; do not trust it, nothing was fetched")
    return names


def _wanted(address: HubAddress, listed: Sequence[str], names: Sequence[str], takes_comparators: bool) -> list[str]:
    """Choose the files to fetch. Raises `HubError` if they are no model."""
    if takes_comparators and comparator.CONFIG in listed and DESCRIPTION not in listed:
        return comparator.names_of(listed)
    if missing := [name for name in (WEIGHTS, DESCRIPTION) if name not in listed]:
        there = f"has no {' and no '.join(missing)}, but {shown_ids(listed, 5) or 'nothing'}"
        raise HubError(f"{address}: {there}; give a model that `panoptic weights push` put there")
    return [name for name in names if name in listed]


def _cached(address: HubAddress, names: Sequence[str], error: UnreachableError) -> Fetched:
    """Take from the cache what an earlier download left there."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = [
        Path(path)
        for name in names
        if isinstance(path := try_to_load_from_cache(address.repository, name, revision=address.revision), str)
    ]
    if not {path.name for path in found}.intersection((WEIGHTS, *comparator.WEIGHTS)):
        hint = _HINT.format(f"{address.repository}@{address.revision}", address.repository)
        raise UnreachableError(f"{error}, and the cache {constants.HF_HUB_CACHE} does not have it; {hint}") from error
    print(f"{error}; taken from the cache", file=sys.stderr)
    return Fetched(found[0].parent, replace(address, revision=found[0].parent.name, is_explicit=True), ())


def upload(address: HubAddress, files: Mapping[str, Path | bytes], stale: Sequence[str], is_public: bool) -> HubAddress:
    """Put files into a model on the hub in one commit, and make the model if there is none.

    Args:
        address: of the model, at its main branch.
        files: to upload, by name.
        stale: names of files to remove if they are there from an earlier upload.
        is_public: whether all may see it, if it is made; who may see one that is there does not change.

    Returns:
        The address with the commit as the revision.

    Raises:
        HubError: nobody is logged in, or may not write there, or the hub cannot be reached.
    """
    hub_client.require_endpoint()
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, get_token

    if get_token() is None:
        raise HubError(f"{address}: nobody is logged in to the hub; {LOGIN}")
    with talking_about(address) as api:
        api.create_repo(address.repository, private=not is_public, exist_ok=True)
        info = api.model_info(address.repository, timeout=hub_client.TIMEOUT_S)
        there = {file.rfilename for file in info.siblings or ()}
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationAdd(name, content) for name, content in files.items()),
            *(CommitOperationDelete(name) for name in stale if name in there),
        ]
        commit = api.create_commit(address.repository, operations, commit_message="Upload weights")
    visible = "private: only you and who you allow see it" if info.private else "public"
    print(f"{hub_client.page(address)} is {visible}")
    return replace(address, revision=commit.oid)
