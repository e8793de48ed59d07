"""faster-coco-eval, which scores instances (AP): of panoptic scoring only its bands of boundary IoU can be compared."""

from conformance.case import Bands, Case, Side
from conformance.compare import NotSupported
from conformance.files import Files
from conformance.runners.harness import Runner, main


def bands(case: Case, files: Files) -> tuple[Bands, ...]:
    """The pixels of every segment in its band."""
    import numpy as np
    from faster_coco_eval.core import mask as masks

    def count(side: Side | None) -> dict[int, int]:
        if side is None or case.topic == "invalid":
            raise NotSupported("masks have no lists")
        ids = np.array(side.ids)
        found = {}
        for segment in side.segments:
            rle = masks.encode(np.asfortranarray(ids == segment.id, np.uint8))
            found[segment.id] = int(masks.area(masks.rleToBoundary(rle, float(case.boundary_ratio))))
        return found

    return tuple(Bands(0, count(image.ground_truth), count(image.prediction)) for image in case.images)


RUNNER = Runner(
    "faster-coco-eval", ("faster-coco-eval", "numpy"), {"bands": bands}, lacks="scores instances, not panoptic segments"
)

if __name__ == "__main__":
    main(RUNNER)
