"""Write the files of an export, each followed by its check."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.export import ExportedProgram

from model.export import checking, files
from model.export.check_images import LabeledImages
from model.export.inference_network import InferenceNetwork
from model.export.onnx_inference import MergingFile, NetworkFile, normalized, open_onnx
from model.export.panoptic_check import Agreement, Predict, Quality, by_file, by_network, segmented
from model.export.sizes import ExportError
from model.inference.merging import MergingSettings
from model.inference.predictor import NetworkInput
from panoptic.format.categories import CategoryTable

if TYPE_CHECKING:
    from onnxscript import ir


def say(step: str) -> None:
    """Print what begins now, at once, also where the output is a file."""
    print(f"{step} ...", flush=True)


@dataclass(frozen=True)
class Exported:
    """A network, and what its files are checked with."""

    network: InferenceNetwork
    categories: CategoryTable
    merging: MergingSettings
    shown: Sequence[NetworkInput]

    def write_torch(self, program: ExportedProgram, path: Path) -> None:
        """Write the file for `torch.export.load`."""
        say(f"writing {files.TORCH_FILE}")
        files.save_torch(program, path)
        self._check_program(files.TORCH_FILE, checking.load_torch(path))

    def write_onnx(self, program: ExportedProgram, path: Path, ending: str, description: str) -> None:
        """Write the ONNX file."""
        from model.export.onnx_panoptic import end_in_panoptic_map  # not needed for the other format

        def finish(model: "ir.Model") -> None:
            if ending == files.PANOPTIC:
                end_in_panoptic_map(model, self.categories, self.merging)
            model.metadata_props["description"] = description

        say(f"writing {files.ONNX_FILE}, which may take minutes")
        files.save_onnx(program, self.network, path, finish)
        if ending == files.PANOPTIC:
            self._check_maps(files.ONNX_FILE, self._predictor(path, ending))
        else:
            self._check_program(files.ONNX_FILE, checking.load_onnx(path))

    def _check_program(self, name: str, program: checking.Program) -> None:
        """Print how an exported file compares with the network in eager mode.

        Raises:
            ExportError: their results differ.
        """
        say(f"comparing {name} with the network, and timing both")
        for image in self.shown:
            comparison = checking.compare_program(self.network, program, image, self.merging)
            print(f"  {comparison.line()}")
            comparison.require(name)
        tensors = [normalized([image]) for image in self.shown]
        _print_ratio("the network", checking.time_ratio(self.network, program, tensors))

    def _check_maps(self, name: str, theirs: Predict) -> None:
        """Print how the maps of a file compare with those of the network, merged by this project.

        Raises:
            ExportError: they differ.
        """
        say(f"comparing {name} with the network, merged by this project, and timing both")
        ours = by_network(self.network, self.merging)
        quality = Quality([name], self.categories)
        for image in self.shown:
            expected, found = ours(image), checking.run(theirs, image, image.name)
            agreement = Agreement.of(image, expected, found)
            print(f"  {agreement.line()}")
            agreement.require(name)
            quality.add(segmented(expected, self.categories), {name: found})
        print(f"  PQ {quality.pq(name):.2f} if the network's own maps were the ground truth")
        _print_ratio("the network", checking.time_ratio(ours, theirs, self.shown))

    def _predictor(self, path: Path, ending: str) -> Predict:
        file_type = MergingFile if ending == files.PANOPTIC else NetworkFile
        return by_file(file_type(open_onnx(path), self.categories, self.merging))

    def write_int8(self, source: Path, path: Path, ending: str, labeled: LabeledImages, max_loss: float) -> None:
        """Write an ONNX file with weights as int8.

        Raises:
            ExportError: it loses too much PQ.
        """
        from model.export.int8 import quantize_weights  # needs a package that the other format does not

        say(f"writing {files.INT8_FILE}, and measuring PQ on {len(labeled.records)} images")
        quantize_weights(source, path)
        plain, small = (self._predictor(file, ending) for file in (source, path))
        predictors = {
            "the network": by_network(self.network, self.merging),
            files.ONNX_FILE: plain,
            files.INT8_FILE: small,
        }
        quality = Quality(predictors, self.categories)
        for image, ground_truth in labeled.read():
            quality.add(ground_truth, {name: predict(image) for name, predict in predictors.items()})
        print("  PQ " + ", ".join(f"{quality.pq(name):.2f} by {name}" for name in predictors))
        print(f"  {100 * path.stat().st_size / source.stat().st_size:.0f} % of the size of {files.ONNX_FILE}")
        _print_ratio(files.ONNX_FILE, checking.time_ratio(plain, small, self.shown))
        loss = quality.pq(files.ONNX_FILE) - quality.pq(files.INT8_FILE)
        if loss > max_loss:
            raise ExportError(
                f"{files.INT8_FILE} loses {loss:.2f} points of PQ, more than --max-pq-loss {max_loss:g}; nothing was "
                "written; allow more, or leave out --int8"
            )


def _print_ratio(other: str, ratio: tuple[float, float, float]) -> None:
    median, least, largest = ratio
    threads = torch.get_num_threads()
    said = f"{threads} thread{'s' if threads > 1 else ''}"
    print(f"  {median:.2f} times as fast as {other} ({least:.2f} to {largest:.2f}), {said}")
