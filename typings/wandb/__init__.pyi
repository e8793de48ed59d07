from collections.abc import Mapping
from types import TracebackType

class Settings:
    def __init__(self, **settings: bool | str) -> None: ...

class Run:
    dir: str
    def __enter__(self) -> Run: ...
    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def define_metric(self, name: str, *, step_metric: str | None = ...) -> object: ...
    def log(self, data: Mapping[str, object]) -> None: ...

def init(
    *,
    project: str,
    dir: str,
    id: str,
    name: str,
    config: Mapping[str, object],
    mode: str,
    settings: Settings,
) -> Run: ...
