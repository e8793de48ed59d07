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
    value: int,
    locations: int,
    weights: int,
    out: int,
    threads: int,
    processor: str,
    /,
) -> None: ...
def backward(
    sizes: Sizes,
    type: str,
    grad: int,
    value: int,
    locations: int,
    weights: int,
    grad_value: int,
    grad_locations: int,
    grad_weights: int,
    threads: int,
    processor: str,
    /,
) -> None: ...
