"""Check of the code that a passport names: commit and uncommitted changes must give the digests of its files."""

from pathlib import Path

from model.verify.check import FAILED, NOT_MADE, OK, Check, first
from panoptic.io.json_fields import JsonObject
from panoptic.io.working_folder import working_folder
from panoptic.passport.digests import digest_of
from panoptic.passport.document import Passport
from panoptic.passport.origin import materialize
from panoptic.runtime.fingerprint import PROJECT


def check_code(passport: Passport, repository: Path) -> Check:
    """Compare all source files, and the lock of the libraries, with what git has for the commit."""
    name, code = f"code of the {passport.type}", passport.section("code")
    with working_folder() as folder:
        if why := materialize(repository, code, folder):
            return Check(name, NOT_MADE, why)
        expected = {**_files(code), code.child("lock").text("path"): code.child("lock").values.get("sha256")}
        wrong = [
            f"{file} has another digest in the commit{' and changes' if code.child('diff').integer('bytes') else ''}"
            for file, digest in expected.items()
            if (digest_of(folder / file) if (folder / file).is_file() else None) != digest
        ]
    changes = code.child("diff").integer("bytes")
    origin = f"commit {code.text('commit')[:12]}" + (f" with {changes} bytes of uncommitted changes" if changes else "")
    return Check(name, FAILED if wrong else OK, f"{origin}: {first(wrong) or f'all {len(expected)} files as listed'}")


def other_code(passport: Passport) -> list[str]:
    """The source files of the run that are different in this checkout."""
    files = _files(passport.section("code"))
    here = {name: digest_of(PROJECT / name) if (PROJECT / name).is_file() else None for name in files}
    return [name for name, digest in files.items() if here[name] != digest]


def _files(code: JsonObject) -> dict[str, object]:
    return dict(code.child("files").values)
