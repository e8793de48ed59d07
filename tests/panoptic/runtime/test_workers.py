"""Work that runs ahead: in order, not farther than allowed, and dropped when it is no longer needed."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from panoptic.datasets.shards import AnnotateSettings
from panoptic.robustness.corrupted_split import CorruptSettings
from panoptic.runtime.parallel import count_processes, map_ahead, worker_pool
from stages.browse import BrowseSettings
from stages.evaluate import EvaluationSettings


def numbers(begun: list[int]) -> Iterator[int]:
    for number in range(20):
        begun.append(number)
        yield number


def test_results_are_in_order_and_few_are_ahead() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(3) as pool:
        results = map_ahead(pool, str, numbers(begun), ahead=4)
        assert not begun
        for position, result in enumerate(results):
            assert result == str(position)
            assert len(begun) == min(position + 5, 20)
    assert len(begun) == 20


def test_without_a_pool_nothing_is_ahead() -> None:
    begun: list[int] = []
    with worker_pool(0) as pool:
        results = map_ahead(pool, str, numbers(begun), ahead=4)
        assert next(results) == "0"
    assert begun == [0]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_raised_at_its_position(workers: int) -> None:
    with worker_pool(workers) as pool:
        results = map_ahead(pool, int, ["1", "x", "3"], ahead=2)
        assert next(results) == 1
        with pytest.raises(ValueError, match="'x'"):
            next(results)


def test_an_error_in_the_block_does_not_wait_for_the_pool() -> None:
    def failing(pool: Executor | None) -> None:
        assert pool is not None
        waiting = [pool.submit(pow, 2, 10) for _ in range(5)]
        assert waiting[0].result() == 1024
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), worker_pool(1) as pool:
        failing(pool)


@pytest.mark.parametrize("schema", [AnnotateSettings, CorruptSettings, EvaluationSettings, BrowseSettings])
def test_workers_may_be_one_per_core(schema: Callable[..., object]) -> None:
    schema(workers=-1)
    assert count_processes(-1) >= 1
    assert [count_processes(workers) for workers in (0, 3)] == [0, 3]
    with pytest.raises(ValueError, match="workers is -2; give the number of processes, 0 for none, or -1"):
        schema(workers=-2)
