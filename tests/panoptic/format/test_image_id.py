"""Image ids as names of files, and their order."""

import pytest

from panoptic.format.image_id import ImageId, file_stem, image_id_order, two_types


@pytest.mark.parametrize(
    ("image_id", "stem"),
    [
        (139, "000000000139"),
        (10**12, "1000000000000"),
        ("aachen_000000_000019", "aachen_000000_000019"),
        ("139", "139"),
        ("..", "=2E=2E"),
        ("a/b.c", "a=2Fb=2Ec"),
        ("a=2Fb", "a=3D2Fb"),
        ("C:\\x", "C=3A=5Cx"),
        ("ü #\n", "=C3=BC=20=23=0A"),
    ],
)
def test_a_file_is_named_after_its_image(image_id: int | str, stem: str) -> None:
    assert file_stem(image_id) == stem


def test_names_of_long_ids_stay_apart() -> None:
    stems = {file_stem("ü" * length) for length in range(1, 400)} | {file_stem("ü" * 100 + end) for end in "abc"}
    assert len(stems) == 402
    assert max(map(len, stems)) == 100


def test_ids_have_an_order_whatever_their_types() -> None:
    image_ids: list[ImageId] = ["b", 2, "10", -1, "a", 10]
    assert sorted(image_ids, key=image_id_order) == [-1, 2, 10, "10", "a", "b"]
    assert two_types([3, "x", 4, "y"]) == "3 and 'x'"
    assert two_types(["x", "y"]) == two_types([]) == ""
