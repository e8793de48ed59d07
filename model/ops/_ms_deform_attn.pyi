from collections.abc import Sequence

class Sizes:
    def __init__(
        self,
        batch: int,
        tokens: int,
        queries: int,
        heads: int,
        channels: int,
        points: int,
        levels: Sequence[tuple[int, int, int]],
    ) -> None: ...

def processors() -> list[str]: ...
def forward(
    sizes: Sizes,
    type: str,
    value: tuple[int, int],
    locations: tuple[int, int],
    weights: tuple[int, int],
    out: tuple[int, int],
    threads: int,
    processor: str,
    /,
) -> None: ...
def backward(
    sizes: Sizes,
    type: str,
    grad: tuple[int, int],
    value: tuple[int, int],
    locations: tuple[int, int],
    weights: tuple[int, int],
    grad_value: tuple[int, int],
    grad_locations: tuple[int, int],
    grad_weights: tuple[int, int],
    threads: int,
    processor: str,
    /,
) -> None: ...
