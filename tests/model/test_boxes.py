"""Boxes and centres of masks, against counting pixels."""

import torch

from model.boxes import mask_boxes, mass_centres


def test_boxes_and_centres_are_those_of_the_set_pixels() -> None:
    masks = torch.rand(6, 9, 7, generator=torch.Generator().manual_seed(0)) > 0.85
    assert masks.flatten(1).any(1).all()
    for mask, box, centre in zip(masks, mask_boxes(masks), mass_centres(masks), strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        torch.testing.assert_close(centre, torch.stack([columns.float().mean() + 0.5, rows.float().mean() + 0.5]))


def test_empty_masks_have_empty_boxes() -> None:
    empty = torch.zeros(2, 5, 5, dtype=torch.bool)
    assert not mask_boxes(empty).any()
    assert not mass_centres(empty).any()
    assert mask_boxes(empty[:0]).shape == (0, 4)
