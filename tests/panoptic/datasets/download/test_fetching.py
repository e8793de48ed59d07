"""One file over HTTP: whatever the server does, the result is the right file or one clear error."""

import hashlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.download.fetching import Patience, Wanted, fetch
from panoptic.io.errors import DatasetError
from tests.archive_files import write_zip
from tests.archive_server import Answer, ArchiveServer

NAME = "val2017.zip"
PAGE = b"<!DOCTYPE html><html><title>Sign in</title><p>to the  network</p></html>" + b" " * 600


@dataclass
class Client:
    """Fetches one file, and records the messages."""

    server: ArchiveServer
    target: Path
    waits: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    progress: int = 0

    @property
    def content(self) -> bytes:
        return (self.server.folder / NAME).read_bytes()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def fetch(
        self, *addresses: str, size: int | None = None, sha256: str | None = None, retries: int = 3, timeout: float = 9
    ) -> tuple[str, str]:
        wanted = Wanted(self.target, addresses or (f"{self.server.address}/{NAME}",), size, sha256)
        return fetch(wanted, Patience(retries, timeout, 1.0, self.waits.append), self._advance, self.lines.append)

    def answer(self, *answers: Answer) -> None:
        self.server.answers[NAME].extend(answers)

    def assert_complete(self) -> None:
        """Assert that the file is complete, alone, and was counted once."""
        assert self.target.read_bytes() == self.content
        assert [path.name for path in self.target.parent.iterdir()] == [NAME]
        assert self.progress == len(self.content)

    def _advance(self, count: int) -> None:
        self.progress += count


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    _write_archive(tmp_path / "there" / NAME, seed=0)
    with ArchiveServer(tmp_path / "there").running() as server:
        yield Client(server, tmp_path / "here" / NAME)


def _write_archive(path: Path, seed: int) -> None:
    write_zip(path, {"val2017/1.jpg": np.random.default_rng(seed).bytes(6000)})


def test_a_good_server_is_asked_once(client: Client) -> None:
    address = f"{client.server.address}/zips/{NAME}"
    assert client.fetch(address, size=len(client.content), sha256=client.sha256) == (client.sha256, address)
    client.assert_complete()
    assert client.server.ranges(NAME) == [None]
    assert not client.waits
    assert not client.lines


@pytest.mark.parametrize("seed", range(12))
def test_a_connection_dropped_at_any_byte_is_resumed_there(client: Client, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cuts = [int(cut) for cut in rng.choice([0, 1, 511, 512, 513, 1000, 1999], size=6)]
    client.answer(*(Answer(cut_after=cut) for cut in cuts))
    assert client.fetch(retries=9)[0] == client.sha256
    client.assert_complete()
    there, ranges = 0, []
    for cut in [*cuts, len(client.content)]:
        ranges.append(f"bytes={there}-" if there else None)
        there += cut if there or cut >= 512 else 0  # the first bytes are kept once they show to be an archive
        if there >= len(client.content):
            break
    assert client.server.ranges(NAME) == ranges


def test_the_next_run_resumes_a_partial_file(client: Client) -> None:
    client.answer(Answer(cut_after=2500))
    with pytest.raises(DatasetError, match=r"failed 1 times in a row: IncompleteRead\(2500 bytes read"):
        client.fetch(retries=0)
    assert not client.target.exists()
    again = Client(client.server, client.target)
    assert again.fetch(retries=0)[0] == client.sha256
    again.assert_complete()
    assert client.server.ranges(NAME) == [None, "bytes=2500-"]
    assert client.server.requests[-1].if_range == client.server.etag(NAME)


@pytest.mark.parametrize("kind", ["ETag", "weak", "date", None])
def test_the_validator_of_a_version_is_sent(client: Client, kind: str | None) -> None:
    client.server.validators = {kind} if kind else set()
    client.answer(Answer(cut_after=2000))
    client.fetch()
    client.assert_complete()
    told = {"ETag": client.server.etag(NAME), "date": "Wed, 21 Oct 2015 07:28:00 GMT"}.get(kind or "")
    assert client.server.requests[-1].if_range == told
    assert client.server.ranges(NAME)[-1] == ("bytes=2000-" if told else None)


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(client: Client) -> None:
    client.answer(Answer(cut_after=2000))
    with pytest.raises(DatasetError):
        client.fetch(retries=0)
    _write_archive(client.server.folder / NAME, seed=1)
    again = Client(client.server, client.target)
    assert again.fetch()[0] == again.sha256
    again.assert_complete()
    assert [request.status for request in client.server.requests] == [200, 200]


def test_with_a_known_checksum_another_mirror_resumes(client: Client) -> None:
    mirrors = [f"{client.server.address}/{mirror}/{NAME}" for mirror in ("one", "two")]
    client.answer(Answer(cut_after=2000), Answer(status=404))
    assert client.fetch(*mirrors, sha256=client.sha256) == (client.sha256, mirrors[1])
    client.assert_complete()
    assert client.server.ranges(NAME) == [None, "bytes=2000-", "bytes=2000-"]


def test_without_a_checksum_another_mirror_starts_over(client: Client) -> None:
    mirrors = [f"{client.server.address}/{mirror}/{NAME}" for mirror in ("one", "two")]
    client.answer(Answer(cut_after=2000), Answer(status=404))
    client.fetch(*mirrors)
    client.assert_complete()
    assert client.server.ranges(NAME) == [None, "bytes=2000-", None]


@pytest.mark.parametrize(
    "answer",
    [Answer(ignore_range=True), Answer(range_from=1000), Answer(status=416), Answer(status=206)],
    ids=["200", "another part", "416", "206 without a range"],
)
def test_a_server_that_cannot_resume_sends_the_whole_file(client: Client, answer: Answer) -> None:
    client.answer(Answer(cut_after=2000), answer)
    assert client.fetch()[0] == client.sha256
    client.assert_complete()


@pytest.mark.parametrize("damage", ["longer", "no note", "half a note"])
def test_an_invalid_partial_file_is_started_over(client: Client, damage: str) -> None:
    client.answer(Answer(cut_after=2000))
    with pytest.raises(DatasetError):
        client.fetch(retries=0)
    part, note = (client.target.with_name(f"{NAME}.part{suffix}") for suffix in ("", ".json"))
    if damage == "longer":
        part.write_bytes(bytes(len(client.content) + 1))
    elif damage == "no note":
        note.unlink()
    else:
        note.write_text(note.read_text()[:20])
    again = Client(client.server, client.target)
    again.fetch(retries=0)
    again.assert_complete()


def test_pieces_that_do_not_fit_together_are_started_over(client: Client) -> None:
    client.answer(Answer(cut_after=2000))
    with pytest.raises(DatasetError):
        client.fetch(retries=0)
    part = client.target.with_name(f"{NAME}.part")
    part.write_bytes(bytes(2000))
    again = Client(client.server, client.target)
    again.fetch(sha256=client.sha256)
    again.assert_complete()
    assert "do not make up the file" in again.lines[0]


def test_waits_grow_and_are_randomized(client: Client) -> None:
    client.answer(*[Answer(status=503)] * 4)
    client.fetch(retries=4)
    client.assert_complete()
    shares = [wait / 2**number for number, wait in enumerate(client.waits)]
    assert len(shares) == 4
    assert all(0.5 <= share <= 1 for share in shares)
    assert len(set(shares)) > 1
    assert client.lines[1].startswith(f"{NAME}: answers 503 Service Unavailable; asking again in ")
    assert client.lines[1].endswith("(2 of 4)")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_retry_after_is_obeyed(client: Client, status: int) -> None:
    client.answer(Answer(status=status, headers={"Retry-After": "7"}))
    client.fetch()
    assert client.waits == [7]


def test_retry_after_may_be_a_date(client: Client) -> None:
    past, soon = formatdate(0, usegmt=True), formatdate(time.time() + 100, usegmt=True)
    client.answer(*(Answer(status=429, headers={"Retry-After": date}) for date in (past, soon, "tomorrow")))
    client.fetch()
    assert client.waits[0] == 0
    assert 50 < client.waits[1] <= 100
    assert 2 <= client.waits[2] <= 4


def test_a_server_that_asks_to_wait_too_long_is_given_up(client: Client) -> None:
    client.answer(Answer(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(DatasetError, match="429 Too Many Requests and asks to wait 3600 s; try again later"):
        client.fetch()
    assert client.waits == []


def test_a_server_that_never_answers_is_given_up(client: Client) -> None:
    client.answer(*[Answer(status=500)] * 9)
    with pytest.raises(DatasetError, match="failed 3 times in a row: answers 500 Internal Server Error"):
        client.fetch(retries=2)
    assert len(client.server.requests) == 3


def test_failures_are_counted_from_the_last_progress(client: Client) -> None:
    client.answer(*[Answer(cut_after=700)] * 8)
    client.fetch(retries=1)
    client.assert_complete()


def test_starting_over_again_and_again_is_not_progress(client: Client) -> None:
    client.answer(*[Answer(cut_after=2000, ignore_range=True)] * 9)
    with pytest.raises(DatasetError, match="failed 3 times in a row"):
        client.fetch(retries=2)
    assert len(client.server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 304, 204])
def test_a_final_failure_leads_to_the_next_mirror_at_once(client: Client, status: int) -> None:
    client.answer(Answer(status=status))
    mirror = f"{client.server.address}/mirror/{NAME}"
    assert client.fetch(f"{client.server.address}/{NAME}", mirror)[1] == mirror
    client.assert_complete()
    assert client.waits == []


def test_the_error_lists_the_failure_of_every_mirror_and_a_hint(client: Client) -> None:
    client.answer(Answer(status=404), Answer(body=PAGE))
    addresses = [f"{client.server.address}/{mirror}/{NAME}" for mirror in ("one", "two")]
    with pytest.raises(DatasetError) as caught:
        client.fetch(*addresses)
    message = str(caught.value)
    assert f"{addresses[0]} answers 404 Not Found" in message
    assert f"{addresses[1]} answers with a web page instead of the archive: 'Sign in to the network'" in message
    assert all(word in message for word in (NAME, "https_proxy", "download.mirrors", "download.from_folder"))
    assert list(client.target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "body", [PAGE, b"not found\n", b"", b"\x1f\x8b" + bytes(600)], ids=["page", "text", "", "gzip"]
)
def test_other_content_is_refused(client: Client, body: bytes) -> None:
    client.answer(Answer(body=body))
    with pytest.raises(DatasetError, match="instead of the archive: '"):
        client.fetch()
    assert len(client.server.requests) == 1


def test_a_web_page_instead_of_the_rest_keeps_the_partial_file(client: Client) -> None:
    client.answer(Answer(cut_after=3000), Answer(body=PAGE))
    with pytest.raises(DatasetError, match="a web page"):
        client.fetch(sha256=client.sha256)
    again = Client(client.server, client.target)
    again.fetch(sha256=client.sha256)
    again.assert_complete()
    assert client.server.ranges(NAME)[-1] == "bytes=3000-"


def test_another_length_than_published_is_refused_before_it_is_fetched(client: Client) -> None:
    size = len(client.content)
    with pytest.raises(DatasetError, match=f"has a file of {size} bytes, expected {size + 1}"):
        client.fetch(size=size + 1)
    assert client.progress == 0


def test_a_short_answer_is_retried_until_given_up(client: Client) -> None:
    client.answer(*[Answer(length=len(client.content) + 9)] * 3)
    with pytest.raises(DatasetError, match="failed 3 times in a row: "):
        client.fetch(retries=2)


def test_bytes_beyond_the_announced_length_are_ignored(client: Client) -> None:
    client.answer(Answer(length=2000))
    with pytest.raises(DatasetError, match="has a file with SHA-256"):
        client.fetch(sha256=client.sha256)


@pytest.mark.parametrize("answer", [Answer(chunked=True), Answer(length=-1)], ids=["chunked", "until the end"])
def test_a_published_length_need_not_be_announced(client: Client, answer: Answer) -> None:
    client.answer(answer)
    client.fetch(size=len(client.content))
    client.assert_complete()


@pytest.mark.parametrize("answer", [Answer(chunked=True), Answer(length=-1)], ids=["chunked", "until the end"])
def test_without_any_length_an_answer_is_refused(client: Client, answer: Answer) -> None:
    client.answer(answer)
    with pytest.raises(DatasetError, match="does not say how long the file is"):
        client.fetch()


def test_a_dropped_answer_without_length_is_resumed(client: Client) -> None:
    client.answer(Answer(length=-1, cut_after=2000))
    client.fetch(size=len(client.content))
    client.assert_complete()
    assert "ended after 2000 of" in client.lines[0]


def test_a_file_with_a_wrong_checksum_is_not_fetched_twice(client: Client) -> None:
    with pytest.raises(DatasetError, match=f"has a file with SHA-256 {client.sha256}, expected {'0' * 64}"):
        client.fetch(sha256="0" * 64)
    assert len(client.server.requests) == 1
    assert list(client.target.parent.iterdir()) == []
    assert client.progress == 0


def test_a_compressed_answer_is_refused(client: Client) -> None:
    client.answer(Answer(headers={"Content-Encoding": "gzip"}))
    with pytest.raises(DatasetError, match="encoding that was not asked for"):
        client.fetch()


def test_redirects_are_followed_but_not_to_other_protocols(client: Client) -> None:
    client.answer(Answer(status=302, headers={"Location": f"/elsewhere/{NAME}"}))
    client.fetch()
    client.assert_complete()
    client.answer(Answer(status=302, headers={"Location": "file:///etc/passwd"}))
    with pytest.raises(DatasetError, match="cannot be asked: No connection adapters"):
        client.fetch()


def test_an_unreachable_server_is_reported_briefly(client: Client) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/{NAME}"
        with pytest.raises(DatasetError, match=rf"{address} failed 2 times in a row: \[Errno \d+\] Connection refused"):
            client.fetch(address, retries=1)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://archives.invalid/a.zip", r"\[Errno -\d\] "),
        ("http://127.0.0.1:9/a.zip", r"\[Errno \d+\] Connection refused"),
    ],
)
def test_a_server_that_cannot_be_reached_is_soon_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DatasetError, match=f"{address} failed 3 times in a row: {reason}"):
        client.fetch(address, retries=8)
    assert len(client.waits) == 2
    assert sum(client.waits) <= 3
    assert client.lines[-1].endswith("(2 of 2)")


def test_a_server_that_vanishes_in_the_middle_keeps_all_retries(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.answer(Answer(cut_after=2000))
    connect = socket.create_connection
    calls = []

    def connected(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        calls.append(address)
        if 1 < len(calls) <= 6:
            raise ConnectionRefusedError(111, "Connection refused")
        return connect(address, 9)

    monkeypatch.setattr("urllib3.util.connection.create_connection", connected)
    client.fetch(retries=6)
    client.assert_complete()
    assert len(client.waits) == 6


def test_a_silent_connection_times_out(client: Client) -> None:
    client.answer(Answer(hold_after=2000))
    client.fetch(timeout=0.05)
    client.assert_complete()
    assert client.lines[0].startswith(f"{NAME}: timed out")
    assert client.server.ranges(NAME) == [None, "bytes=2000-"]


def test_the_proxy_of_the_environment_is_used(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", client.server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    client.fetch(f"http://archives.invalid/zips/{NAME}")
    client.assert_complete()
    assert client.server.requests[0].path == f"http://archives.invalid/zips/{NAME}"
