"""The account of a dataset as a table: what each kind of error costs, and PQ with each repaired, as JSON and CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from panoptic.account import KINDS, REPAIRS, ClassAccount, PictureAccount
from panoptic.categories import CategoryTable


@dataclass(frozen=True)
class AccountRow:
    """One class or group; fractions of 1, None where the class (or every class of the group) does not occur.

    `lost` by kind adds up to 1 - `pq`; `repaired` is the PQ by what is repaired. Without raw instances nothing is
    known of merging: then `merging` and `perfect_merging` are None too, and what it lost is in the other kinds.
    """

    pq: float | None
    lost: Mapping[str, float | None]
    repaired: Mapping[str, float | None]

    def to_json(self) -> dict[str, object]:
        return {"pq": self.pq, "lost": dict(self.lost), "repaired": dict(self.repaired)}


@dataclass(frozen=True)
class AccountTable:
    """`groups` are `all`, `things` and `stuff`, averages over their classes that occur; `classes` by category id."""

    categories: CategoryTable
    groups: Mapping[str, AccountRow]
    classes: Mapping[int, AccountRow]

    def to_json(self) -> dict[str, object]:
        """`{"all": {"pq": .., "lost": {..}, "repaired": {..}}, "things": .., "stuff": .., "classes": {"1": ..}}`."""
        names = {category.id: category.name for category in self.categories}
        classes = {str(key): {"name": names[key]} | row.to_json() for key, row in self.classes.items()}
        return {name: row.to_json() for name, row in self.groups.items()} | {"classes": classes}

    def lost_csv(self) -> bytes:
        """What each kind of error costs: a row for each, a column for each group and class; None is left empty."""
        return self._csv("kind", lambda row: row.lost)

    def repaired_csv(self) -> bytes:
        """PQ by what is repaired, `nothing` first: rows and columns likewise."""
        return self._csv("repaired", lambda row: {"nothing": row.pq, **row.repaired})

    def _csv(self, title: str, values: Callable[[AccountRow], Mapping[str, float | None]]) -> bytes:
        names = {category.id: category.name for category in self.categories}
        columns = {name: values(row) for name, row in self.groups.items()}
        columns |= {names[category_id]: values(row) for category_id, row in self.classes.items()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([title, *columns])
        for kind in columns["all"]:
            writer.writerow([kind, *(column[kind] for column in columns.values())])
        return text.getvalue().encode()


def account_table(account: PictureAccount, categories: CategoryTable, with_instances: bool = True) -> AccountTable:
    """The table of all pictures added up; `with_instances` says whether raw instances were there to judge merging.

    A repaired group is averaged over the classes that then occur: one that had false positives only drops out, and
    with it its PQ of 0.
    """
    accounts = {category.id: account.classes.get(category.id, ClassAccount()) for category in categories}
    things = {category.id for category in categories.things}
    classes = {key: _row(class_account, key in things, with_instances) for key, class_account in accounts.items()}
    groups = {
        "all": _mean_row(list(classes.values())),
        "things": _mean_row([row for key, row in classes.items() if key in things]),
        "stuff": _mean_row([row for key, row in classes.items() if key not in things]),
    }
    return AccountTable(categories, groups, classes)


def _row(account: ClassAccount, is_thing: bool, with_instances: bool) -> AccountRow:
    present, counts = account.present, account.repaired
    divisor = present.tp + present.fp / 2 + present.fn / 2
    lost = {kind: getattr(account.lost, kind) / divisor if present.occurs else None for kind in KINDS}
    # A perfect merging keeps of the things only what matches.
    merging = replace(counts.perfect_merging, fp=0) if is_thing else counts.perfect_merging
    repaired = {name: getattr(counts, name).pq for name in REPAIRS} | {"perfect_merging": merging.pq}
    if not with_instances:
        lost["merging"] = repaired["perfect_merging"] = None
    return AccountRow(present.pq, lost, repaired)


def _mean_row(rows: Sequence[AccountRow]) -> AccountRow:
    return AccountRow(
        _mean([row.pq for row in rows]),
        {kind: _mean([row.lost[kind] for row in rows]) for kind in KINDS},
        {name: _mean([row.repaired[name] for row in rows]) for name in REPAIRS},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
