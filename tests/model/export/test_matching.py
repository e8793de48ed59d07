"""Queries of two programs are matched by class, probability and mask."""

import torch

from model.export.checking import TIE, QueryPairs


def outputs(*queries: tuple[int, float, float]) -> dict[str, torch.Tensor]:
    """Make outputs of queries (label, probability, value of their mask)."""
    labels, probabilities, values = zip(*queries, strict=True)
    masks = torch.tensor(values)[None, :, None, None].expand(1, -1, 2, 3)
    return {"labels": torch.tensor([labels]), "probabilities": torch.tensor([probabilities]), "masks": masks}


def test_tied_queries_may_swap() -> None:
    ours = outputs((0, 0.9, 1.0), (1, 0.5, 2.0), (1, 0.5 - TIE / 2, 3.0))
    theirs = outputs((0, 0.9, 1.0), (1, 0.5, 3.0), (1, 0.5 - TIE / 2, 2.0))
    queries = QueryPairs.of(ours, theirs)
    assert dict(zip(queries.ours.tolist(), queries.theirs.tolist(), strict=True)) == {0: 0, 1: 2, 2: 1}
    assert queries.missing == 0


def test_the_least_probable_may_be_replaced() -> None:
    queries = QueryPairs.of(outputs((0, 0.9, 1.0), (1, 0.5, 2.0)), outputs((0, 0.9, 1.0), (2, 0.5 - TIE / 2, 7.0)))
    assert queries.ours.tolist() == [0]
    assert queries.missing == 0


def test_an_absent_probable_query_is_missing() -> None:
    ours = outputs((0, 0.9, 1.0), (1, 0.5, 2.0))
    for theirs in (outputs((1, 0.9, 1.0), (1, 0.5, 2.0)), outputs((0, 0.9 - 2 * TIE, 1.0), (1, 0.5, 2.0))):
        assert QueryPairs.of(ours, theirs).missing == 2  # ours in theirs, and theirs in ours


def test_an_infinite_mask_matches_nothing() -> None:
    ours, theirs = outputs((0, 0.9, 1.0), (1, 0.5, 2.0)), outputs((0, 0.9, float("inf")), (1, 0.5, 2.0))
    assert QueryPairs.of(ours, theirs).missing == 2
