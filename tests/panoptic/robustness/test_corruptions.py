"""Corruptions: equal to those of the module, whatever else is drawn or done, without overflow; and one's own."""

import hashlib
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from panoptic.robustness import corruptions
from panoptic.robustness.corruptions import (
    SEVERITIES,
    TABLE,
    Corruption,
    Variant,
    corrupt_image,
    image_seed,
    library_versions,
    own_sources,
)

ROOT = Path(__file__).parents[3]
OF_THE_MODULE = tuple(corruption.name for corruption in TABLE if corruption.function is None)
# These do not depend on random numbers.
PLAIN = {"defocus_blur", "gaussian_blur", "brightness", "contrast", "saturate", "jpeg_compression"}
SIZE = (40, 56)


def random_image(height: int = SIZE[0], width: int = SIZE[1], seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colors with some detail, dark to bright."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 5 + channel) + np.cos(columns / (7 + channel)) for channel in range(3)]
    noise = np.random.default_rng(seed).normal(scale=12, size=(height, width, 3))
    image: NDArray[np.uint8] = np.clip(127 + 55 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)
    return image


def digests(order: tuple[str, ...] = OF_THE_MODULE) -> dict[str, str]:
    """Digests of every corruption at severity 3, made in the given order."""
    image = random_image()
    made = {name: hashlib.sha256(corrupt_image(image, name, 3, 42).tobytes()).hexdigest() for name in order}
    return {name: made[name] for name in OF_THE_MODULE}


@pytest.mark.parametrize("name", OF_THE_MODULE)
def test_each_corruption_equals_that_of_the_module(name: str) -> None:
    image, seed = random_image(), image_seed(Variant(name, 4), 7)
    found = corrupt_image(image, name, 4, 7)
    np.random.seed(seed)
    seeded = {"seed": seed} if name in ("glass_blur", "impulse_noise") else {}
    expected = import_module("imagecorruptions").corrupt(image, 4, corruption_name=name, **seeded)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, image)


def test_corruptions_are_in_the_order_of_the_paper() -> None:
    initials = "mdgg giss bcsj ssff"
    assert "".join(name[0] for name in OF_THE_MODULE) == initials.replace(" ", "")
    assert set(OF_THE_MODULE) < set(import_module("imagecorruptions").get_corruption_names("all"))


@pytest.mark.parametrize("name", OF_THE_MODULE)
def test_earlier_random_numbers_do_not_matter_and_later_ones_are_not_affected(name: str) -> None:
    image = random_image()
    before = image.copy()
    first = corrupt_image(image, name, 2, 5)
    np.random.seed(11)
    np.random.random(3)
    corrupt_image(random_image(seed=1), "glass_blur", 1, 6)
    corrupt_image(random_image(seed=1), name, 5, 6)
    expected_next = np.random.RandomState(11).random(5)[3:]
    second = corrupt_image(image, name, 2, 5)
    assert np.array_equal(first, second)
    assert np.array_equal(np.random.random(2), expected_next)
    assert np.array_equal(image, before)


def test_the_random_state_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        np.random.random(9)
        raise RuntimeError("broken")

    monkeypatch.setitem(import_module("imagecorruptions").corruption_dict, "fog", broken)
    np.random.seed(3)
    with pytest.raises(RuntimeError, match="broken"):
        corrupt_image(random_image(), "fog", 1, 1)
    assert np.random.random() == np.random.RandomState(3).random()


def test_another_process_in_another_order_makes_the_same_pixels() -> None:
    code = (
        "import numpy; numpy.random.seed(8)\n"
        "from tests.panoptic.robustness.test_corruptions import digests, OF_THE_MODULE\n"
        "print(*digests(OF_THE_MODULE[::-1]).values())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == list(digests().values())


@pytest.mark.parametrize("name", OF_THE_MODULE)
def test_chance_depends_on_image_and_severity(name: str) -> None:
    image = random_image()
    same = np.array_equal(corrupt_image(image, name, 3, 1), corrupt_image(image, name, 3, 2))
    assert same == (name in PLAIN)


def test_seeds_never_change() -> None:
    assert image_seed(Variant("fog", 1), 139) == int(hashlib.sha256(b"139/fog/1").hexdigest()[:8], 16)
    seeds = {image_seed(Variant(name, severity), 139) for name in OF_THE_MODULE for severity in SEVERITIES}
    assert len(seeds) == 80


@pytest.mark.parametrize("name", OF_THE_MODULE)
def test_odd_and_small_sizes_are_kept(name: str) -> None:
    for height, width in ((1, 1), (5, 7), (31, 45), (47, 33)):
        for severity in (1, 5):
            corrupted = corrupt_image(random_image(height, width), name, severity, 3)
            assert (corrupted.shape, corrupted.dtype) == ((height, width, 3), np.dtype(np.uint8))


@pytest.mark.parametrize("name", OF_THE_MODULE)
def test_a_small_image_is_a_part_of_its_reflection(name: str) -> None:
    small = random_image(20, 40)
    large = np.concatenate([small, small[-2:-14:-1]])
    assert large.shape[0] == 32
    assert np.array_equal(corrupt_image(small, name, 2, 3), corrupt_image(large, name, 2, 3)[:20])


@pytest.mark.parametrize("name", ["fog", "frost", "snow"])
def test_images_larger_than_the_modules_textures(name: str) -> None:
    for height, width in ((130, 1030), (1030, 130), (640, 960)):
        corrupted = corrupt_image(random_image(height, width), name, 5, 3)
        assert corrupted.shape == (height, width, 3)
        corners = corrupted[:40, :40], corrupted[-40:, -40:]
        assert all(corner.std() > 2 for corner in corners)


@pytest.mark.parametrize("name", OF_THE_MODULE)
@pytest.mark.parametrize("level", [0, 255])
def test_values_never_wrap_around(name: str, level: int) -> None:
    image = np.full((*SIZE, 3), level, np.uint8)
    function = import_module("imagecorruptions").corruption_dict[name]
    for severity in (1, 5):
        seed = image_seed(Variant(name, severity), 9)
        np.random.seed(seed)
        seeded = {"seed": seed} if name in ("glass_blur", "impulse_noise") else {}
        exact = np.asarray(function(Image.fromarray(image), severity, **seeded), np.float64)
        corrupted = corrupt_image(image, name, severity, 9)
        assert np.abs(corrupted - exact).max() < 1


def test_noise_on_white_stays_bright_and_on_black_dark() -> None:
    """At 0.08, and 48 x 64 x 3 draws, no value is seven deviations away; one that wrapped around would be."""
    white, black = np.full((48, 64, 3), 255, np.uint8), np.zeros((48, 64, 3), np.uint8)
    assert corrupt_image(white, "gaussian_noise", 1, 1).min() > 255 * (1 - 7 * 0.08)
    assert corrupt_image(black, "gaussian_noise", 1, 1).max() < 255 * 7 * 0.08
    assert np.all(corrupt_image(white, "brightness", 5, 1) == 255)


def test_spatter_without_a_drop_leaves_the_image_as_it_is() -> None:
    """The module divides by its strongest drop, and where none fell, every value is lost."""
    image = random_image(32, 32)
    spatter = import_module("imagecorruptions").corruption_dict["spatter"]

    def lost(image_id: int) -> bool:
        np.random.seed(image_seed(Variant("spatter", 1), image_id))
        with np.errstate(invalid="ignore"):
            return bool(np.isnan(spatter(Image.fromarray(image), 1)).any())

    image_id = next(number for number in range(1000) if lost(number))
    assert np.array_equal(corrupt_image(image, "spatter", 1, image_id), image)


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [
        (
            "zoom_blur",
            1,
            "no corruption 'zoom_blur'; give one of motion_blur, .* or a function of your own",
        ),
        ("fog", 0, "'fog' of severity 0; give a severity from 1 to 5"),
        ("fog", 6, "'fog' of severity 6"),
    ],
)
def test_unknown_names_and_severities_are_refused(name: str, severity: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corrupt_image(random_image(), name, severity, 1)


def test_images_of_other_types_are_refused() -> None:
    gray = random_image()[..., 0]
    for image in (gray, random_image()[:0], np.concatenate([random_image(), gray[..., None]], -1)):
        with pytest.raises(ValueError, match=r"give one of \(height, width, 3\) uint8"):
            corrupt_image(image, "fog", 1, 1)
    floats: Any = random_image().astype(np.float32)
    with pytest.raises(ValueError, match=r"float32; give one of"):
        corrupt_image(floats, "fog", 1, 1)


def test_versions_name_the_module() -> None:
    assert "imagecorruptions-imaug" in library_versions()


OWN = """
import numpy as np

def rain(image, severity, rng):
    image[rng.random(image.shape[:2]) < severity / 10] = 255
    return image

def grows(image, severity, rng):
    return np.pad(image, ((1, 0), (0, 0), (0, 0)))

def floats(image, severity, rng):
    return image / 255

def nothing(image, severity, rng):
    return None

def raises(image, severity, rng):
    raise KeyError("sky")

def leaves(image, severity, rng):
    raise SystemExit(0)

def two_arguments(image, severity):
    return image

WORD = "rain"
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with corruptions of one's own, which no other test has imported."""
    name = f"own_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_corruption_of_ones_own_is_reproducible(own_module: str) -> None:
    image, name = random_image(), f"{own_module}:rain"
    before = image.copy()
    first, second, other = (corrupt_image(image, name, 3, image_id) for image_id in (7, 7, 8))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert np.array_equal(image, before), "it gets a copy"
    expected = np.random.default_rng(image_seed(Variant(name, 3), 7)).random(SIZE) < 0.3
    assert np.all(first[expected] == 255)
    assert str(Variant(name, 3)) == f"{own_module}.rain_3", "a name for files"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("grows", r"returned an array \(41, 56, 3\) uint8 for image id 7 at severity 2; return .* \(40, 56, 3\) uint8"),
        ("floats", r"returned an array \(40, 56, 3\) float64"),
        ("nothing", "returned NoneType"),
        ("raises", r"failed for image id 7 at severity 2 \(KeyError: 'sky'\); correct the function"),
        ("leaves", r"failed for image id 7 at severity 2 \(SystemExit: 0\)"),
        ("two_arguments", r"failed for image id 7 at severity 2 \(TypeError: .*2 positional arguments"),
        ("missing", r"cannot be imported \(.*no attribute 'missing'\); give module:function, importable from"),
        ("WORD", r"is a str; give a function \(image, severity, rng\)"),
    ],
)
def test_a_wrong_corruption_of_ones_own_is_explained(own_module: str, function: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"corruption '{own_module}:{function}' {message}"):
        corrupt_image(random_image(), f"{own_module}:{function}", 2, 7)


def test_a_module_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"'not_there:rain' cannot be imported .*No module named 'not_there'"):
        own_sources(["fog", "not_there:rain"])


def test_the_source_of_a_corruption_of_ones_own_is_digested(own_module: str, tmp_path: Path) -> None:
    name = f"{own_module}:rain"
    assert own_sources(["fog", name]) == {name: hashlib.sha256(OWN.encode()).hexdigest()}
    (tmp_path / f"{own_module}.py").write_text(OWN + "# changed")
    assert own_sources([name]) != {name: hashlib.sha256(OWN.encode()).hexdigest()}


def test_a_module_that_exits_is_named(own_module: str, tmp_path: Path) -> None:
    (tmp_path / f"{own_module}.py").write_text("raise SystemExit(0)")
    with pytest.raises(ValueError, match=rf"'{own_module}:rain' cannot be imported \(SystemExit: 0\)"):
        own_sources([f"{own_module}:rain"])


def test_the_source_is_the_file_that_defines_the_function(own_module: str, tmp_path: Path) -> None:
    (tmp_path / f"{own_module}_again.py").write_text(f"from {own_module} import rain")
    name = f"{own_module}_again:rain"
    assert own_sources([name]) == {name: hashlib.sha256(OWN.encode()).hexdigest()}


def test_an_entry_with_a_function_is_all_that_a_corruption_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def rain(image: NDArray[np.uint8], severity: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        return np.where(rng.random(image.shape) < severity / 10, np.uint8(255), image)

    monkeypatch.setattr(corruptions, "TABLE", (*TABLE, Corruption("rain", "weather", "Rain", rain)))
    image = random_image()
    assert not np.array_equal(corrupt_image(image, "rain", 5, 1), image)
    assert np.array_equal(corrupt_image(image, "rain", 5, 1), corrupt_image(image, "rain", 5, 1))
