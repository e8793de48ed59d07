"""The server as a program: right answers, hostile requests, and its end."""

import base64
import os
import re
import signal
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, fields
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import panoptic_segformer
from model.inference.merging import MergingSettings
from panoptic.format.id_map import decode_id_map
from panoptic_segformer.serve.__main__ import main
from panoptic_segformer.serve.server import bound
from tests.panoptic.io.made_pngs import header, png
from tests.panoptic_segformer.made_model import photo, photo_file
from tests.panoptic_segformer.serve.servers import Program, started

JPEG = photo_file(0, form="JPEG")
UPLOAD = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(JPEG)}\r\n\r\n".encode() + JPEG


def described(result: panoptic_segformer.Result) -> list[tuple[object, ...]]:
    return [(one.id, one.category_id, one.score, one.area, list(one.box)) for one in result.segments]


def listed(answer: dict[str, list[dict[str, object]]]) -> list[tuple[object, ...]]:
    return [tuple(one[key] for key in ("id", "category_id", "score", "area", "box")) for one in answer["segments"]]


@pytest.mark.parametrize(
    "data", [JPEG, photo_file(1), photo_file(2, 70, 51, "WebP"), photo_file(3, 30, 60, "JPEG", orientation=6)]
)
def test_answers_are_those_of_python(program: Program, model: panoptic_segformer.Model, data: bytes) -> None:
    expected = model(data)
    assert expected.segments
    with program.client() as client:
        raw = client.post("/predict?map=1", content=data).json()
        form = client.post("/predict", files={"file": ("C:\\photos\\..\\a b.jpg", data)}).json()
        png = client.post("/predict", content=data, headers={"Accept": "image/png"})
        overlay = client.post("/predict?format=overlay", content=data)
        coco = client.post("/predict?format=coco", files={"file": ("a.jpg", data)}).json()
    assert listed(raw) == listed(form) == described(expected)
    assert form["name"] == "a b.jpg"
    for encoded in (base64.b64decode(raw["map"]), png.content):
        np.testing.assert_array_equal(decode_id_map(encoded, ""), expected.ids)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(overlay.content))), np.asarray(expected.overlay()))
    assert coco["annotations"][0]["file_name"] == "a.png"
    assert coco["annotations"][0]["segments_info"] == expected.to_coco()["segments_info"]


def encoded(form: str, *frames: Image.Image) -> bytes:
    buffer = BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(buffer, form, **more)
    return buffer.getvalue()


UNUSUAL = {
    **{f"{form} of many frames": encoded(form, *map(photo, range(40))) for form in ("GIF", "PNG", "WebP", "TIFF")},
    "CMYK": encoded("JPEG", photo(0).convert("CMYK")),
    "palette": encoded("PNG", photo(0).convert("P")),
    "16 bits": encoded("PNG", Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21)),
    **{f"{size}": encoded("PNG", photo(0).resize(size)) for size in ((1, 1), (1, 30_000), (30_000, 1))},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_images_are_predicted_as_by_python(
    program: Program, model: panoptic_segformer.Model, name: str
) -> None:
    with program.client() as client:
        answer = client.post("/predict?format=png", content=UNUSUAL[name])
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(decode_id_map(answer.content, ""), model(UNUSUAL[name]).ids)


@pytest.mark.parametrize(
    "changed",
    [
        {"alpha": 0.5, "beta": 0.25},
        {"mask_threshold": 0.45, "score_threshold": 0.1},
        {"method": "pixel", "overlap_stuff": 0.9},
        {"method": "pixel_class", "mask_threshold": 0.3},
    ],
)
def test_merging_again_is_predicting_with_these_settings(
    program: Program, weights: Path, changed: dict[str, float | str]
) -> None:
    other = panoptic_segformer.load(weights, device="cpu", **changed)
    expected = other(JPEG)
    with program.client() as client:
        kept = client.post("/predict?keep=1", content=JPEG).headers["Location"]
        query = {name: str(value) for name, value in changed.items()}
        answer = client.get(kept, params={**query, "map": "1"}).json()
        png = client.get(kept, params={**query, "format": "png"}).content
    assert listed(answer) == described(expected)
    np.testing.assert_array_equal(decode_id_map(png, ""), expected.ids)
    assert base64.b64decode(answer["map"]) == png
    assert answer["merging"] == asdict(other.settings.merging)


def test_many_clients_at_once_all_get_their_own_map(program: Program, model: panoptic_segformer.Model) -> None:
    slow = [unfinished(program, begun) for begun in (UPLOAD[:30], UPLOAD[:-10]) for _ in range(10)]
    for _ in range(10):
        unfinished(program, UPLOAD).close()
    photos = [photo_file(seed, 40 + seed % 5, 60) for seed in range(32)]
    expected = [model(data) for data in photos]

    def ask(data: bytes) -> httpx.Response:
        with program.client() as client:
            return client.post("/predict?format=png", content=data)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, photos))
    for answer, result in zip(answers, expected, strict=True):
        assert answer.status_code == 200, answer.text
        np.testing.assert_array_equal(decode_id_map(answer.content, ""), result.ids)
    for connection in slow:
        connection.close()


def unfinished(program: Program, begun: bytes) -> socket.socket:
    """Open a connection, and send the begin of a request."""
    host, _, port = program.address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(begun)
    return connection


def test_memory_stays(program: Program) -> None:
    status = Path(f"/proc/{program.process.pid}/status")

    def resident() -> int:
        found = re.search(r"VmRSS:\s+(\d+)", status.read_text())
        assert found
        return int(found[1])

    data = photo_file(0, 200, 300)
    with program.client() as client:
        for _ in range(50):
            assert client.post("/predict", content=data).status_code == 200
        before = resident()
        for _ in range(250):
            assert client.post("/predict", content=data).status_code == 200
    assert resident() - before < 30_000  # kB


def png_of(width: int, height: int, rows: bytes) -> bytes:
    """Make a gray PNG that claims a size, whatever its rows."""
    return png(header(height, width, color=0), zlib.compress(rows))


HOSTILE = {
    "nothing": (b"", 400),
    "text": (b"no image at all", 415),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", 415),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
    "pdf": (b"%PDF-1.7\n", 415),
    "zip": (b"PK\3\4" + bytes(100), 415),
    "a signature alone": (b"\x89PNG\r\n\x1a\n", 422),
    "wave file": (b"RIFF\x24\0\0\0WAVEfmt ", 422),
    "JPEG cut short": (JPEG[: len(JPEG) // 2], 422),
    "PNG cut short": (photo_file(1)[:-20], 422),
    "JPEG of random bytes": (b"\xff\xd8\xff\xe0" + np.random.default_rng(0).bytes(5000), 422),
    "10 000 x 10 000 zeros": (png_of(10_000, 10_000, bytes(10_001 * 10_000)), 413),
    "more pixels than numbers": (png_of(2**31 - 1, 2**31 - 1, b""), 413),
    "no pixels": (png_of(0, 5, b""), 422),
    "no rows": (png_of(100, 100, b""), 422),
    "too many bytes": (bytes(5_000_000), 413),
}


@pytest.mark.parametrize("as_form", [False, True], ids=["raw", "form"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads_are_refused(program: Program, name: str, as_form: bool) -> None:
    data, status = HOSTILE[name]
    with program.client() as client:
        if as_form:
            answer = client.post("/predict", files={"file": ("../../etc/passwd\0.png", data)})
        else:
            answer = client.post("/predict", content=data)
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"error"}
        assert client.get("/health").json()["taken"] == 0


def test_what_follows_an_image_in_its_file_is_ignored(program: Program, model: panoptic_segformer.Model) -> None:
    polyglot = photo_file(1) + b"<script>alert(1)</script>PK\3\4"
    with program.client() as client:
        answer = client.post("/predict", content=polyglot)
    assert listed(answer.json()) == described(model(photo_file(1)))
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("/predict?alpha=nan", {}, 400),
        ("/predict?alpha=much", {}, 400),
        ("/predict?method=best", {}, 400),
        ("/predict?format=exe", {}, 400),
        ("/predict?shorter=9", {}, 400),
        ("/predict?alpha=1e999", {}, 400),
        ("/predict?beta=-1", {}, 400),
        ("/predict?alpha=1&alpha=2", {}, 400),
        ("/predict?format=png&format=json", {}, 400),
        ("/predict?" + "&".join(["p"] * 10_000), {}, 400),
        ("/predict?" + "x" * 60_000, {}, 400),
        ("/predict", {"Content-Type": "multipart/form-data; boundary=x"}, 400),
        ("/predict", {"Content-Type": "multipart/form-data; boundary*=a''x; boundary*0=a"}, 400),
        ("/predict", {"Content-Type": "multipart/form-data"}, 200),  # the whole body
        ("/predict", {"Host": "rebound.example"}, 421),
        ("/predict", {"Host": "127.0.0.1.rebound.example"}, 421),
        ("/predict", {"Host": "[::1"}, 421),
        ("/predict", {"Origin": "https://elsewhere.example"}, 403),
        ("/predict", {"Origin": "null"}, 403),
        ("/predict", {"Origin": "http://[::1"}, 403),
        ("/results/../../../etc/passwd", {}, 404),
        ("/docs", {}, 404),
        ("/openapi.json", {}, 404),
    ],
)
def test_hostile_requests_are_refused(program: Program, address: str, headers: dict[str, str], status: int) -> None:
    with program.client() as client:
        answer = client.post(address, content=JPEG, headers=headers)
        assert answer.status_code == status, answer.text
        assert client.get("/health").json()["taken"] == 0


def test_a_wrong_address_is_told_the_right_ones(program: Program) -> None:
    with program.client() as client:
        for answer, status in ((client.get("/predict"), 405), (client.get("/docs"), 404)):
            assert answer.status_code == status
            assert "POST an image to /predict" in answer.json()["error"]


def test_monitors_may_ask_for_the_head_alone(program: Program) -> None:
    with program.client() as client:
        for address in ("/", "/health", "/model"):
            head, whole = client.head(address), client.get(address)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["Content-Length"] == str(len(whole.content))
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
            answer = client.request(method, "/predict")
            assert (answer.status_code, answer.headers["Allow"], set(answer.json())) == (405, "POST", {"error"})


def test_an_endless_header_is_cut(program: Program) -> None:
    with program.client() as client:
        with suppress(httpx.TransportError):  # closed before all was sent
            assert client.get("/health", headers={"X-Long": "x" * 4_000_000}).status_code == 400
        assert client.get("/health").json()["taken"] == 0


def test_browsers_are_told_to_load_nothing_from_elsewhere(program: Program) -> None:
    with program.client() as client:
        page, health = client.get("/"), client.get("/health")
    assert "default-src 'none'; script-src 'sha256-" in page.headers["Content-Security-Policy"]
    assert not re.search(r"(src|href)=[\"']?https?:|@import|url\(", page.text)
    for answer in (page, health):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_model_describes_itself(program: Program, model: panoptic_segformer.Model) -> None:
    with program.client() as client:
        answer = client.get("/model").json()
    assert answer["categories"] == model.categories.to_json()
    assert answer["merging"].keys() == {field.name for field in fields(MergingSettings)}
    assert len(answer["sha256"]) == 64
    assert answer["name"] == "model.safetensors"  # without the folder


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_answers_being_made_are_finished_at_the_end(weights: Path, number: signal.Signals, status: int) -> None:
    with started(weights) as program, program.client() as client, ThreadPoolExecutor(8) as pool:
        data = photo_file(0, 1500, 1500)
        slow = unfinished(program, UPLOAD[:-10])
        asked = [pool.submit(client.post, "/predict?format=overlay", content=data) for _ in range(8)]
        with program.client() as other:
            while other.get("/health").json()["taken"] < 8:
                time.sleep(0.01)
        program.process.send_signal(number)
        time.sleep(0.3)
        slow.sendall(UPLOAD[-10:])
        assert [answer.result().status_code for answer in asked] == [200] * 8
        assert slow.recv(12) == b"HTTP/1.1 200"
        slow.close()
        assert program.end() == (status, f"ended by {number.name}\n")


def test_a_killed_server_leaves_nothing(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with started(weights) as program:
        port = int(program.address.rpartition(":")[2])
        with program.client() as client:
            client.post("/predict?keep=1", content=JPEG)
        os.kill(program.process.pid, signal.SIGKILL)
        program.process.wait()
        assert not list(tmp_path.iterdir())
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))


def test_answers_of_several_packets_are_not_held_back() -> None:
    with bound("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_is_said(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit, match="2"):
        main(["--model", str(weights), "--port", str(taken.getsockname()[1])])
    assert "is in use, perhaps by another server; give another one by --port" in capsys.readouterr().err
