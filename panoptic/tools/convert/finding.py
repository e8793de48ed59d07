"""Finding the files that annotations name, although folders were moved or other systems spell their names otherwise."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import FileSource
from panoptic.io.names import NameTable, checked_name, normal_name


@dataclass(frozen=True)
class FileFinder:
    """Finds files of a folder or archive by name, but none below the folder `apart`.

    `option` is the one that names the source, for messages.

    A file that is not there under its name is looked for by the last part of it, in any folder and in upper or lower
    case: CVAT writes images to folders that its annotations do not name, LabelMe names paths on another machine, and
    Label Studio addresses, in which a space is %20.
    """

    files: FileSource
    option: str
    apart: Path | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all files, sorted."""
        if self.apart is None or not is_inside(self.apart, self.files.path):
            return self.files.names()
        below = f"{self.apart.resolve().relative_to(self.files.path.resolve()).as_posix()}/"
        return tuple(name for name in self.files.names() if not name.startswith(below))

    def exact(self, name: str) -> str | None:
        """The file of this name, if it is there."""
        return self._table.find(name)

    def find(self, name: str) -> tuple[str, bool]:
        """The file that `name` means, and whether it is there under this name.

        Raises `DatasetError` if there is none, if several may be meant, or if the name leads upwards.
        """
        if ".." in normal_name(name).split("/"):
            checked_name(name, self.files.path)
        exact = self.exact(name)
        if exact is not None:
            return exact, True
        found = self._table.similar(name) or self._table.similar(unquote(name))
        if len(found) == 1:
            return found[0], False
        where = f"{self.files.path}: {name}: the file is missing"
        if found:
            several = f"{len(found)} other files may be meant ({shown_ids(found, 3)})"
            raise DatasetError(f"{where}, and {several}; correct the name, or give its folder with {self.option}")
        raise DatasetError(f"{where}{self._table.describe_similar(name)}; add it")

    @cached_property
    def _table(self) -> NameTable[object]:
        if self.names == self.files.names():
            return self.files.table
        return NameTable(str(self.files.path), (((name,), None) for name in self.names))


def is_inside(folder: Path, other: Path) -> bool:
    """Tell whether a folder, which need not exist, is below another one."""
    return other.resolve() in folder.resolve().parents
