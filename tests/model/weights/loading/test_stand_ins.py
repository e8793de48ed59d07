"""Metadata beside weights: numbers are read, objects are left empty, and no code of the file runs."""

import argparse
import datetime
import subprocess
import sys
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from model.weights.loading.files import WeightsError, read_pickle, read_weights

STATE = {"a.weight": torch.arange(3.0)}


def with_module(path: Path, old: bytes, new: bytes) -> None:
    """Rewrite the names of modules in a checkpoint, as another version of a library would have written them."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "number",
    [
        np.float64(49.6),
        np.float32(0.1),
        np.float16(0.5),
        np.int64(-(2**40)),
        np.uint8(200),
        np.bool_(True),
        np.complex64(1 + 2j),
        np.str_("großes Ω"),
        np.array(7, ">i4")[()],
        np.array(2.5, ">f8")[()],
    ],
    ids=lambda number: number.dtype.str,
)
def test_numbers_of_numpy_are_plain_values(number: np.generic, legacy: bool, module: bytes, tmp_path: Path) -> None:
    """Under the names of NumPy 1 and 2."""
    path = tmp_path / "x.pth"
    document = {"meta": {"best": number}, "state_dict": STATE}
    torch.save(document, path, _use_new_zipfile_serialization=not legacy)
    if legacy:
        path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", module))
    else:
        with_module(path, b"numpy._core.multiarray", module)
    file = read_weights(path)
    value = file.meta["best"]
    assert type(value) is type(number.item())
    assert value == number.item()
    assert torch.equal(file.state["a.weight"], STATE["a.weight"])
    assert not file.left_out


def of_another_project(name: str, base: type, *arguments: object) -> object:
    """An object of a project that is not installed where the file is read; its state is a tuple, as in mmcv."""
    module = sys.modules.get("mmcv.utils.config", ModuleType("mmcv.utils.config"))
    members: dict[str, object] = {"__module__": module.__name__}
    if base is object:
        members |= {"__getstate__": lambda _: ({"lr": 0.1}, "config.py", "lr = 0.1")}
    vars(module)[name] = type(name, (base,), members)
    sys.modules.update({part: ModuleType(part) for part in ("mmcv", "mmcv.utils")} | {module.__name__: module})
    made: object = vars(module)[name](*arguments)
    return made


def forget_other_project() -> None:
    for name in ("mmcv.utils.config", "mmcv.utils", "mmcv"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: of_another_project("Config", object), "mmcv.utils.config.Config"),
        (lambda: argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (lambda: Path("/tmp/x"), "pathlib.PosixPath"),
        (lambda: datetime.datetime(2021, 12, 8, tzinfo=datetime.UTC), "datetime.datetime"),
        (lambda: np.zeros(3), "numpy.ndarray"),
    ],
)
def test_objects_beside_the_weights_are_left_empty_and_named(
    make: Callable[[], object], named: str, tmp_path: Path
) -> None:
    made = make()
    torch.save({"meta": {"made": made, "epoch": 3}, "args": made, "model": STATE}, tmp_path / "x.pth")
    forget_other_project()
    file = read_weights(tmp_path / "x.pth")
    assert torch.equal(file.state["a.weight"], STATE["a.weight"])
    assert file.meta["epoch"] == 3
    assert "args" in file.left_out
    assert f"the content of {named}" in file.left_out
    assert "mmcv" not in sys.modules


def test_other_plain_values_are_read(tmp_path: Path) -> None:
    meta = {
        "device": torch.device("cpu"),
        "type": torch.float32,
        "order": OrderedDict(a=1),
        "count": defaultdict(int, a=1),
        "settings": of_another_project("ConfigDict", dict, {"lr": 0.1}),
        "list": of_another_project("Names", list, ["a"]),
    }
    torch.save({"meta": meta, "state_dict": OrderedDict(STATE)}, tmp_path / "x.pth")
    forget_other_project()
    file = read_weights(tmp_path / "x.pth")
    assert file.meta == meta
    assert not file.left_out


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def project_function(path: str) -> None:
    """Stands for a function of the file's own project."""
    Path(path).touch()


@pytest.mark.parametrize("where", ["state_dict", "meta"])
@pytest.mark.parametrize("function", [exec, eval, getattr, subprocess.Popen, project_function, np.load, np.memmap])
def test_code_beside_such_values_is_refused_and_not_run(
    function: Callable[..., object], where: str, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    hostile = Call(function, f"open({str(made)!r}, 'w')")
    document: dict[str, object] = {"meta": {"best": np.float64(1), "args": argparse.Namespace()}, "state_dict": STATE}
    torch.save(document | {where: hostile}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=rf"asks to run code \(.*{function.__name__}\), none of which was run"):
        read_weights(tmp_path / "x.pth")
    assert not made.exists()


def test_a_forged_number_reads_no_memory(tmp_path: Path) -> None:
    """A type with an object at an address that the file gives: NumPy would follow it."""
    structured = np.dtype([("a", "O")])
    scalar = np.float64(0).__reduce__()[0]
    assert callable(scalar)
    forged = Call(scalar, structured, b"\x41" * 8)
    torch.save({"meta": {"best": forged}, "state_dict": STATE}, tmp_path / "x.pth")
    content = read_pickle(tmp_path / "x.pth").content
    assert isinstance(content, dict)
    assert not isinstance(content["meta"]["best"], np.generic)


def test_weights_that_are_objects_are_refused(tmp_path: Path) -> None:
    """An array, and a whole network as `torch.save(network)` writes it, of which no class is imported."""
    torch.save({"state_dict": {"a": np.zeros(3)}}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"'state_dict' holds objects of numpy\..*, which are not read"):
        read_weights(tmp_path / "x.pth")
    for document in (torch.nn.Linear(2, 2), {"model": torch.nn.Linear(2, 2), "epoch": 3}):
        torch.save(document, tmp_path / "x.pth")
        with pytest.raises(WeightsError, match=r"objects of torch\.nn\.modules\.linear\.Linear.*the state dict alone"):
            read_weights(tmp_path / "x.pth")


WEIGHTS, AVERAGE = torch.zeros(2), torch.ones(2)
PLAIN_HOOK = "custom_hooks = [dict(type='EMAHook', momentum=0.0002)]"
EARLY_HOOK = "custom_hooks = [dict(type='ExpMomentumEMAHook', momentum=0.0001, priority=49)]"


@pytest.mark.parametrize(
    ("document", "both"),
    [
        ({"state_dict": {"a.b": WEIGHTS}, "state_dict_ema": {"a.b": AVERAGE}, "optimizer": {}}, True),
        ({"model": {"a.b": WEIGHTS}, "model_ema": {"module.a.b": AVERAGE}, "optimizer": {}}, True),
        ({"model": {"state_dict": {"a.b": WEIGHTS}}, "ema": {"shadow": {"a.b": AVERAGE}}, "optimizer": {}}, True),
        ({"state_dict": {"a.b": WEIGHTS, "ema_a_b": AVERAGE}, "meta": {"config": PLAIN_HOOK}, "optimizer": {}}, True),
        ({"model": {"a.b": WEIGHTS}, "ema": {"n_averaged": WEIGHTS, "module.a.b": AVERAGE}, "optimizer": {}}, True),
        ({"network": {"a.b": WEIGHTS}, "average": {"a.b": AVERAGE}, "optimizer": {}}, True),
        (
            {
                "state_dict": {"module.a.b": WEIGHTS, "module.ema_a_b": AVERAGE},
                "meta": {"config": f"{EARLY_HOOK}; runner = dict(type='IterBasedRunner')"},
                "optimizer": {},
            },
            True,
        ),
        ({"params": {"a.b": WEIGHTS}, "params_ema": {"a.b": AVERAGE}, "optimizer": {}}, True),
        ({"state_dict": {"a.b": WEIGHTS}, "average": None, "optimizer": {}}, False),
    ],
)
def test_weights_and_their_average(document: dict[str, object], both: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(document, path)
    plain = read_weights(path)
    assert plain.state.keys() == {"a.b"}
    assert torch.equal(plain.state["a.b"], WEIGHTS)
    assert plain.left_out == ("optimizer",) if both else ("average", "optimizer")
    if not both:
        assert not plain.taken
        with pytest.raises(WeightsError, match=r"holds no moving average of the weights"):
            read_weights(path, average=True)
        return
    assert "not their moving average (EMA) in" in plain.taken
    assert "--ema" in plain.taken
    averaged = read_weights(path, average=True)
    assert averaged.taken.startswith("the moving average (EMA) in ")
    assert torch.equal(averaged.state["a.b"], AVERAGE)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(
    "document",
    [
        {"state_dict": {"a.b": AVERAGE, "ema_a_b": WEIGHTS}},
        {"state_dict": {"a.b": AVERAGE, "ema_a_b": WEIGHTS}, "meta": {"config": EARLY_HOOK}},
        {
            "state_dict": {"a.b": AVERAGE, "ema_a_b": WEIGHTS},
            "meta": {"config": PLAIN_HOOK.replace(")", ", priority='HIGH')")},
        },
        {"state_dict": {"a.b": AVERAGE}, "ema_state_dict": {"steps": torch.tensor(7), "module.a.b": WEIGHTS}},
    ],
)
def test_openmmlab_stores_the_average_under_the_usual_names(
    document: dict[str, object], average: bool, tmp_path: Path
) -> None:
    """mmcv's hook exchanges it with the weights after every epoch, and mmengine's in the file."""
    torch.save(document, tmp_path / "x.pth")
    file = read_weights(tmp_path / "x.pth", average)
    assert file.state.keys() == {"a.b"}
    assert torch.equal(file.state["a.b"], AVERAGE)
    assert file.taken.startswith("the moving average (EMA) in ")
    assert "not the weights in" in file.taken


def test_weights_of_deepspeed_lightning_and_fsdp(tmp_path: Path) -> None:
    """A loss beside the network is left out and named, and wrapped parts have their own names."""
    path = tmp_path / "x.pth"
    torch.save({"module": {"module.a.b": WEIGHTS}, "optimizer": None}, path)
    assert read_weights(path).state.keys() == {"a.b"}
    torch.save({"state_dict": {"model.a": WEIGHTS, "model.b": WEIGHTS, "loss.weight": AVERAGE}, "epoch": 1}, path)
    lightning = read_weights(path)
    assert lightning.state.keys() == {"a", "b"}
    assert lightning.left_out == ("epoch", "loss (1 entries)")
    torch.save({"_fsdp_wrapped_module.a._fsdp_wrapped_module.b": WEIGHTS, "_fsdp_wrapped_module.c": WEIGHTS}, path)
    assert read_weights(path).state.keys() == {"a.b", "c"}


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "network.module."])
def test_prefixes_of_programs_that_wrap_a_network(prefix: str, tmp_path: Path) -> None:
    torch.save({"state_dict": {f"{prefix}a.b": WEIGHTS, f"{prefix}model.c": WEIGHTS}}, tmp_path / "x.pth")
    file = read_weights(tmp_path / "x.pth")
    assert file.state.keys() == {"a.b", "model.c"}
    assert file.prefix == prefix


def test_a_newer_pickle_protocol_is_no_damage(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "x.pth", pickle_protocol=4)
    with pytest.raises(WeightsError, match=r"another pickle protocol than torch's own"):
        read_weights(tmp_path / "x.pth")


def test_an_average_alone_is_taken_and_said(tmp_path: Path) -> None:
    torch.save({"model_ema": {"a.b": AVERAGE}}, tmp_path / "x.pth")
    for average in (False, True):
        file = read_weights(tmp_path / "x.pth", average)
        assert file.taken == "the moving average (EMA) in 'model_ema', as there are no other weights"
        assert torch.equal(file.state["a.b"], AVERAGE)


def test_a_bare_state_dict_is_everything_in_the_file(tmp_path: Path) -> None:
    bare: dict[str, Tensor] = {"model": torch.zeros(1), "ema_x": torch.zeros(1)}
    torch.save(bare, tmp_path / "x.pth")
    assert read_weights(tmp_path / "x.pth").state.keys() == bare.keys()
