"""Differences between the rows over seeds and images, from the counts by image of their runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchmarks.compare_models.results import ComparedPair, SeedResult
from benchmarks.compare_models.rows import CLOSE
from benchmarks.compare_models.runs import ComparisonRuns
from panoptic.evaluation.bootstrap import resampled_averages
from panoptic.evaluation.network_difference import FEWEST_SEEDS, NetworkDifference, SeedScores
from panoptic.evaluation.power import images_needed, seeds_needed
from panoptic.evaluation.scores import PQ, Array
from panoptic.evaluation.sequential import LEVEL, Decision, decide
from panoptic.index import PanopticIndex
from panoptic.report.paired import CountedRun

Pair = tuple[str, str]


@dataclass
class SequentialComparison:
    """All comparisons of a table's rows, decided anew after every look.

    Attributes:
        pairs: the rows to compare, each with the one that it is compared with.
        planned: number of looks.
        differences: those found, by look.
    """

    runs: ComparisonRuns
    pairs: Sequence[Pair]
    planned: int
    differences: list[Mapping[Pair, NetworkDifference]] = field(default_factory=list)
    _resampled: dict[tuple[str, int], Array] = field(default_factory=dict)

    def look(self, results: Sequence[SeedResult], seeds: Sequence[int]) -> None:
        """Compare the results of some seeds."""
        quality = {(one.row, one.seed): one.pq["all"] for one in results if not math.isnan(one.pq["all"])}
        found = {}
        for row, other in self.pairs:
            common = [seed for seed in seeds if (row, seed) in quality and (other, seed) in quality]
            if len(common) >= FEWEST_SEEDS:
                first, second = (self._scores(name, common, quality) for name in (other, row))
                same_weights = self.runs.table.trained(row) == self.runs.table.trained(other)
                found[row, other] = NetworkDifference.between(first, second, self._images, same_weights)
        self.differences.append(found)

    def open_rows(self, results: Sequence[SeedResult]) -> set[str]:
        """Return the rows in comparisons that are not decided, of two rows that have results."""
        decisions, known = self._decisions(), {result.row for result in results}
        is_open = [pair for pair in self.pairs if pair not in decisions or not decisions[pair].is_decided]
        return {row for pair in is_open if known.issuperset(pair) for row in pair}

    def compared(self) -> list[ComparedPair]:
        """Return every comparison that there are results for, and what it would need to find a difference of 1 PQ."""
        decisions = self._decisions()
        level = LEVEL / max(1, len(self.pairs) * self.planned)
        return [_compared_pair(pair, decisions[pair], level) for pair in self.pairs if pair in decisions]

    def _decisions(self) -> dict[Pair, Decision]:
        return decide(self.differences, self.pairs, self.planned, CLOSE)

    def _scores(self, row: str, seeds: Sequence[int], quality: Mapping[tuple[str, int], float]) -> SeedScores:
        resampled = [self._on_resampled_images(row, seed) for seed in seeds]
        return SeedScores(np.array([quality[row, seed] for seed in seeds]), np.stack(resampled, axis=1))

    def _on_resampled_images(self, row: str, seed: int) -> Array:
        """PQ in percent; each run is read once. All runs have the same images, here in the same order."""
        if (row, seed) not in self._resampled:
            images = [counts for _, counts in sorted(CountedRun.read(self.runs.counts(row, seed)).images.items())]
            self._resampled[row, seed] = 100 * resampled_averages(images, PQ, self._index.categories)
        return self._resampled[row, seed]

    @property
    def _images(self) -> int:
        return len(self._index.records)

    @cached_property
    def _index(self) -> PanopticIndex:
        return PanopticIndex.load(self.runs.index("val"))


def _compared_pair(pair: Pair, decision: Decision, level: float) -> ComparedPair:
    difference = decision.difference
    return ComparedPair(
        *pair,
        decision,
        seeds_for_1_pq=seeds_needed(difference, 1.0, level),
        images_for_1_pq=images_needed(difference, 1.0, difference.seeds, level),
    )
