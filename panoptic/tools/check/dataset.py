"""Inspecting a dataset: each split, then everything that only shows when splits are compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from panoptic.datasets.layout import SplitFiles
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.errors import shown_ids
from panoptic.runtime.parallel import worker_pool
from panoptic.tools.check.annotations import JsonImage
from panoptic.tools.check.capacity import PUBLISHED_QUERIES, Queries, capacity_issues
from panoptic.tools.check.issues import Issue, Severity, count_severities
from panoptic.tools.check.split import SplitCheck, check_split

# A thing class is reported as drawn like stuff if it occurs in at least this many images, always as a single segment
# without crowd, which in at least this fraction of them spans the image. Cars and people do not look like that.
_LIKE_STUFF_IMAGES, _LIKE_STUFF_FRACTION = 10, 0.5


@dataclass(frozen=True)
class DatasetCheck:
    """The findings about a dataset; `categories` are those of all splits, None if no split has any."""

    name: str
    splits: tuple[SplitCheck, ...]
    categories: CategoryTable | None
    issues: tuple[Issue, ...]

    @property
    def has_errors(self) -> bool:
        return count_severities(self.issues)[Severity.ERROR] > 0


def check_dataset(
    name: str,
    splits: Mapping[str, SplitFiles],
    issues: Sequence[Issue] = (),
    workers: int = 0,
    progress: bool = False,
    queries: Queries = PUBLISHED_QUERIES,
) -> DatasetCheck:
    """Inspect the splits of a dataset in `workers` processes (0: in this one). `issues` were found already.

    `queries` bound what the network to be trained can find.
    """
    with worker_pool(workers, "--workers") as pool:
        checked = tuple(check_split(split, files, pool, workers, progress) for split, files in splits.items())
    categories = _all_categories(checked)
    together = [
        *_different_categories(checked),
        *(issue for split in checked for issue in split.issues),
        *(issue for split in checked for issue in capacity_issues(split, queries)),
        *_equal_images(checked),
        *_shared_ids(checked),
        *(issue for category in categories or () for issue in _class_issues(category, checked)),
        *issues,
    ]
    return DatasetCheck(name, checked, categories, tuple(together))


def _all_categories(splits: Sequence[SplitCheck]) -> CategoryTable | None:
    known: dict[int, Category] = {}
    for split in splits:
        for category in split.annotations.categories or ():
            known.setdefault(category.id, category)
    return CategoryTable.of(known.values()) if known else None


def _different_categories(splits: Sequence[SplitCheck]) -> Iterator[Issue]:
    with_table = [(split, split.annotations.categories) for split in splits if split.annotations.categories]
    for split, table in with_table[1:]:
        reference, expected = with_table[0]
        difference = expected.describe_difference(table)
        if difference:
            found = f"compared with '{reference.split}': {difference}"
            yield Issue("categories-differ", split.split, str(split.files.panoptic_json), found)


def _equal_images(splits: Sequence[SplitCheck]) -> Iterator[Issue]:
    """Report images of equal content: in one split if their names differ, in several splits whatever their names."""
    first: dict[bytes, tuple[SplitCheck, JsonImage]] = {}
    for split in splits:
        own: dict[bytes, JsonImage] = {}
        for image in split.annotations.images:
            if (digest := split.digests.get(image.image_id)) is None:
                continue
            where, twin = f"{split.files.images}: {image.file_name}", own.setdefault(digest, image)
            if twin.file_name != image.file_name:
                found = f"the same as '{twin.file_name}' (image id {twin.image_id})"
                yield Issue("image-duplicate", split.split, where, found, image.image_id)
            other, twin = first.setdefault(digest, (split, image))
            if other is not split:
                found = f"the same as '{twin.file_name}' of '{other.split}' (image id {twin.image_id})"
                yield Issue("image-across-splits", split.split, where, found, image.image_id)


def _shared_ids(splits: Sequence[SplitCheck]) -> Iterator[Issue]:
    for one, two in combinations(splits, 2):
        ids = [{image.image_id for image in split.annotations.images} for split in (one, two)]
        if both := sorted(ids[0] & ids[1]):
            found = f"{len(both)} ids are in '{one.split}' as well: {shown_ids(both, 5)}"
            yield Issue("id-across-splits", two.split, str(two.files.panoptic_json), found)


def _class_issues(category: Category, splits: Sequence[SplitCheck]) -> Iterator[Issue]:
    """Report a class that does not occur at all or in some split, or that seems to be stuff instead of a thing."""
    named = f"{category.id} '{category.name}'"
    counts = {split.split: split.summary.counts_of(category.id) for split in splits}
    instances = {name: found.instances for name, found in counts.items()}
    lists = [split.files.panoptic_json for split in splits if category.id in (split.annotations.categories or ())]
    where = f"{lists[0]}: categories"
    if not any(instances.values()):
        only_crowd = ", only crowd regions" if any(found.crowds for found in counts.values()) else ""
        issue_type = "thing-without-instance" if category.is_thing else "stuff-unused"
        yield Issue(issue_type, "", where, f"{named}{only_crowd}")
        return
    there = shown_ids([f"'{name}'" for name, count in instances.items() if count], 5)
    for split in splits:
        if not instances[split.split]:
            found = f"{named} is only in {there}"
            yield Issue("class-not-in-split", split.split, str(split.files.panoptic_json), found)
    images = sum(found.images for found in counts.values())
    alone, wide = sum(found.alone for found in counts.values()), sum(found.wide for found in counts.values())
    like_stuff = images == alone >= _LIKE_STUFF_IMAGES and wide >= _LIKE_STUFF_FRACTION * images
    if category.is_thing and like_stuff:
        found_words = f"{named}: one segment in each of {images} images, spanning the image in {wide}"
        yield Issue("thing-like-stuff", "", where, found_words)
