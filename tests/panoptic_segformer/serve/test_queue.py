"""The queue before the network, and clients that are slow or leave, with a network that waits."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

import panoptic_segformer
from panoptic_segformer.images import NamedImage
from panoptic_segformer.serve import connections
from panoptic_segformer.serve.kept import Kept
from panoptic_segformer.serve.limits import Limits, RefusalError
from panoptic_segformer.serve.server import configured
from panoptic_segformer.serve.uploads import first_file, plain_name
from tests.panoptic_segformer.made_model import photo_file
from tests.panoptic_segformer.serve.servers import Start

PHOTO = photo_file(0)


def taken(address: str) -> int:
    count: int = httpx.get(f"{address}/health", timeout=30, trust_env=False).json()["taken"]
    return count


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def predict(address: str) -> httpx.Response:
    return httpx.post(f"{address}/predict", content=PHOTO, timeout=60, trust_env=False)


def raw_request(address: str, text: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(f"POST /predict HTTP/1.1\r\nHost: localhost\r\n{text}".encode())
    return connection


def test_a_full_queue_says_when_to_come_again(start: Start) -> None:
    address, gate = start(Limits(queue=4))
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(predict, address) for _ in range(4)]
        until(lambda: taken(address) == 4)
        refused = predict(address)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        gate.opened.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 4
    assert predict(address).status_code == 200


def test_who_hangs_up_frees_the_place(start: Start) -> None:
    address, gate = start(Limits(queue=3))
    clients = [raw_request(address, f"Content-Length: {len(PHOTO)}\r\n\r\n") for _ in range(3)]
    for client in clients:
        client.sendall(PHOTO)
    until(lambda: taken(address) == 3)
    until(lambda: gate.runs == 1)
    for client in clients:
        client.close()
    until(lambda: taken(address) == 0)
    gate.opened.set()
    assert predict(address).status_code == 200
    assert gate.runs == 2, "what nobody waits for is not predicted"


def test_a_late_answer_is_given_up(start: Start) -> None:
    address, _ = start(Limits(seconds=0.2))
    assert predict(address).status_code == 504
    assert taken(address) == 0


def test_a_slow_upload_ends_while_others_are_served(start: Start) -> None:
    address, gate = start(Limits(queue=2, upload_seconds=1))
    gate.opened.set()
    with raw_request(address, "Content-Length: 1000\r\n\r\n") as slow:
        slow.sendall(PHOTO[:10])
        assert predict(address).status_code == 200
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert taken(address) == 0


def test_slow_uploads_leave_the_queue_to_others(start: Start) -> None:
    address, gate = start(Limits(queue=1))
    gate.opened.set()
    slow = [raw_request(address, "Content-Length: 1000\r\n\r\n") for _ in range(3)]
    for connection in slow:
        connection.sendall(PHOTO[:10])
    assert predict(address).status_code == 200
    for connection in slow:
        connection.close()


def test_uploads_being_received_are_bounded_in_all(start: Start) -> None:
    address, gate = start(Limits(queue=1, megabytes=1))
    gate.opened.set()
    with raw_request(address, "Content-Length: 700000\r\n\r\n") as first:
        first.sendall(bytes(600_000))
        time.sleep(0.2)
        with raw_request(address, "Content-Length: 600000\r\n\r\n") as second:
            second.sendall(bytes(600_000))
            assert second.recv(4096).startswith(b"HTTP/1.1 503 ")
        first.sendall(bytes(100_000))
        assert first.recv(4096).startswith(b"HTTP/1.1 415 ")
    assert predict(address).status_code == 200


def test_an_answer_that_nobody_takes_is_dropped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.5)
    address, gate = start(Limits())
    gate.opened.set()
    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2500, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG", compress_level=0)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = address.removeprefix("http://").partition(":")
        slow.connect((host, int(port)))
        head = f"POST /predict?format=overlay HTTP/1.1\r\nHost: localhost\r\nContent-Length: {buffer.tell()}\r\n\r\n"
        slow.sendall(head.encode() + buffer.getvalue())
        assert slow.recv(12) == b"HTTP/1.1 200"
        time.sleep(2)
        got = 0
        with suppress(ConnectionResetError):
            while chunk := slow.recv(1 << 20):
                got += len(chunk)
        assert got < 10_000_000, "all was sent"


def test_the_end_waits_for_every_request_that_was_taken() -> None:
    limits = Limits(seconds=100, upload_seconds=20)
    grace = configured(FastAPI(), limits).timeout_graceful_shutdown
    assert grace is not None
    assert grace >= 120


def test_a_header_that_never_ends_is_not_waited_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    address, gate = start(Limits())
    gate.opened.set()
    with raw_request(address, "X-Slow: ") as slow:
        for _ in range(5):
            slow.sendall(b"x")
            time.sleep(0.05)
        assert slow.recv(4096) == b""
    assert predict(address).status_code == 200


def test_an_upload_of_unknown_length_is_bounded(start: Start) -> None:
    address, gate = start(Limits(megabytes=1))
    gate.opened.set()
    chunks = (bytes(100_000) for _ in range(20))
    answer = httpx.post(f"{address}/predict", content=chunks, timeout=30, trust_env=False)
    assert answer.status_code == 413


def test_kept_images_are_bounded_in_number_and_time(model: panoptic_segformer.Model, weights: Path) -> None:
    clock = [0.0]
    image = model.find(NamedImage("a", model(PHOTO).image))
    kept = Kept(3 * image.nbytes, seconds=10, clock=lambda: clock[0])
    first, second, third = (kept.add(image) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert len({first, second, third}) == 3
    assert kept.get(first) is image
    assert kept.add(image) is not None
    assert kept.get(second) is None, "the one longest unused"
    clock[0] = 9
    assert kept.get(first) is image
    clock[0] = 15
    assert kept.get(third) is None
    assert kept.get(first) is image
    clock[0] = 26
    kept.sweep()
    assert len(kept) == 0 == kept.nbytes
    assert Kept(image.nbytes - 1, 10).add(image) is None


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a b.jpg", "a b.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.png", "y.png"),
        ("..", "image"),
        ("a\0\r\nb.jpg", "ab.jpg"),
        ("é" * 300, "é" * 100),
    ],
)
def test_names_are_plain(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_the_first_file_of_a_form() -> None:
    body = (
        b"preamble\r\n--x\r\nContent-Disposition: form-data; name=a\r\n\r\nfield\r\n"
        b'--x\r\nContent-Disposition: form-data; name=b; filename="c.png"\r\nX: y\r\n\r\n1\r\n\r\n2\r\n--x--\r\n'
    )
    assert first_file(body, "x") == ("c.png", b"1\r\n\r\n2")
    assert first_file(body.removeprefix(b"preamble\r\n"), "x") == ("c.png", b"1\r\n\r\n2")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\n\r\n\r\n--x--",
        b"--x\r\nContent-Disposition: form-data; filename=a\r\n--x--\r\n\r\n",  # the blank line is not its own
        b"--x\r\nX: " + bytes(100_000) + b'\r\nContent-Disposition: form-data; filename="a"\r\n\r\n1\r\n--x--',
        b"--x\r\n\r\n\r\n" * 200 + b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\n1\r\n--x--',
    ],
    ids=["empty", "no end", "no file", "no blank line", "an endless header", "too many parts"],
)
def test_forms_without_a_file(body: bytes) -> None:
    with pytest.raises(RefusalError, match="no file"):
        first_file(body, "x")


def test_a_malformed_name_of_a_file_is_refused() -> None:
    with pytest.raises(RefusalError, match="the name of its file is malformed"):
        first_file(b"--x\r\nContent-Disposition: form-data; filename*=a''b; filename*0=c\r\n\r\n1\r\n--x--", "x")
