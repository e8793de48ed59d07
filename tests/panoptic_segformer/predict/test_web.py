"""Images from the web: within limits, by http and https alone, and with an error that says what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from panoptic_segformer.predict.web import WebAddress
from tests.archive_server import Answer, ArchiveServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    (tmp_path / "a.jpg").write_bytes(b"x" * 100_000)
    with ArchiveServer(tmp_path).running() as running:
        yield running


def fetched(server: ArchiveServer, **limits: int) -> bytes:
    return WebAddress(f"{server.address}/photos/a.jpg", **limits).read("")


def test_the_name_is_the_last_part_of_the_path() -> None:
    for address, name in {
        "https://example.org/photos/my%20cat.jpg?size=3#top": "my cat.jpg",
        "https://example.org:8000/": "example.org",
        "http://user:secret@example.org/..%2f..%2fetc%2fa.png": "a.png",
        "http://example.org/x/%2e%2e": "example.org",
    }.items():
        assert WebAddress(address).name == name
    assert WebAddress("http://user:secret@example.org:80/a.png").shown == "http://example.org:80/a.png"


def test_an_image_is_fetched_through_redirects(server: ArchiveServer) -> None:
    server.answers["a.jpg"].append(Answer(302, {"Location": "/elsewhere/a.jpg"}))
    assert fetched(server) == b"x" * 100_000
    assert [request.path for request in server.requests] == ["/photos/a.jpg", "/elsewhere/a.jpg"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([Answer(404)], "the server answers 404 Not Found; check the address and the network"),
        (
            [Answer(302, {"Location": "file:///etc/hostname"})],
            "No connection adapters were found for 'file:///etc/host",
        ),
        ([Answer(302, {"Location": "a.jpg"})] * 9, "Exceeded 5 redirects"),
        ([Answer(cut_after=1000)], r"could not be fetched [(]IncompleteRead[(]1000 bytes read, 99000 more expected"),
        ([Answer(body=b"x" * 300_000)], "has more than the 200000 bytes that are fetched; download the image"),
        ([Answer(body=b"x" * 300_000, length=-1)], "has more than the 200000 bytes that are fetched"),
    ],
)
def test_what_cannot_be_fetched_says_why(server: ArchiveServer, answers: list[Answer], message: str) -> None:
    server.answers["a.jpg"].extend(answers)
    with pytest.raises(ValueError, match=message):
        fetched(server, most_bytes=200_000)


def test_a_slow_server_is_given_up(server: ArchiveServer) -> None:
    with pytest.raises(ValueError, match=r"only [0-9]+ bytes have arrived in 0 s"):
        fetched(server, most_seconds=0)


def test_without_a_network_the_hint_says_so() -> None:
    with pytest.raises(ValueError, match=r"could not be fetched .*Connection refused.*or download the image and give"):
        WebAddress("http://127.0.0.1:9/a.jpg").read("")
