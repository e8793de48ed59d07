"""The doctor's report: on this machine, and where something is missing, damaged, too small or slow."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from panoptic_segformer.doctor import machine, network, software
from panoptic_segformer.doctor.__main__ import main
from panoptic_segformer.doctor.finding import Finding
from panoptic_segformer.neighbors import NEIGHBORS
from tests.panoptic_segformer.programs import ROOT, run_python

Usage = namedtuple("Usage", "total used free")


def doctor(
    *arguments: str, python: Path = Path(sys.executable), path: tuple[Path, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    command = ("-m", "panoptic_segformer", "doctor", "--offline", *arguments)
    return run_python(*command, folder=python.parent, path=(*path, ROOT), python=python)


def findings(text: str) -> dict[str, dict[str, str]]:
    return {finding["topic"]: finding for finding in json.loads(text)["findings"]}


def test_this_machine_is_sound(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    main(["--offline", "--json"])
    report = capsys.readouterr().out
    assert json.loads(report)["sound"]
    found = findings(report)
    assert {name: found[name]["state"] for name in ("own packages", "python", "torch", "opencv")} == dict.fromkeys(
        ("own packages", "python", "torch", "opencv"), "ok"
    )
    assert "on cpu" in found["deformable attention"]["found"]
    assert "package index" not in found


def test_without_any_package_every_lack_is_a_line(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    done = doctor(python=tmp_path / "bare" / "bin" / "python")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert "problem  torch: ModuleNotFoundError: No module named 'torch'" in lines
    assert lines[lines.index("problem  torch: ModuleNotFoundError: No module named 'torch'") + 1].strip() == (
        "-> install PyTorch as https://pytorch.org says"
    )
    assert any(line.startswith("warning  package: runs from ") for line in lines)
    assert lines[-1].startswith("problems: 3, warnings: ")


def test_a_package_that_crashes_or_fails_on_import_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    (tmp_path / "cv2.py").write_text("import os; os.abort()")
    done = doctor("--json", path=(tmp_path,))
    assert (done.returncode, done.stderr) == (1, "")
    found = findings(done.stdout)
    assert found["torch"]["found"] == "OSError: libcudart.so.12: cannot open shared object file"
    assert found["opencv"]["state"] == "problem"
    assert found["opencv"]["found"].startswith("the import crashed")
    assert found["deformable attention"]["found"].startswith("OSError"), "what comes after a crash is imported as well"


def test_an_import_that_hangs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("import time; print('loading', flush=True); time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(software, "_IMPORT_SECONDS", 1.0)
    found = {finding.topic: finding for finding in software.inspect_software()}
    assert found["torch"].found == "the import crashed, or took more than 1 s"


def test_another_package_of_the_same_name_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").touch()
    found = findings(doctor("--json", path=(tmp_path,)).stdout)
    assert found["own packages"]["state"] == "problem"
    assert str(tmp_path / "model" / "__init__.py") in found["own packages"]["found"]


def test_what_is_too_small_is_a_warning_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 64000000 kB\nMemAvailable: 32000000 kB\n")
    (tmp_path / "limit").write_text("2000000000\n")
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_MEMORY_LIMITS", (tmp_path / "limit", tmp_path / "missing"))
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: Usage(10**9, 10**9 - 64 * 10**6, 64 * 10**6))
    monkeypatch.setattr("resource.getrlimit", lambda _limit: (256, 4096))
    found = {finding.topic: finding for finding in machine.inspect_machine()}
    assert found["memory"].found == "2.0 GB of 2.0 GB available"
    assert found["open files"].hint == "ulimit -n 1024: workers keep many files open"
    small = ("memory", "/dev/shm", "current folder", "temporary files", "open files")
    assert [topic for topic, finding in found.items() if finding.state == "warning" and finding.hint] == [
        *small[:4],
        "downloads",
        small[4],
    ]


def test_a_folder_that_cannot_be_written_to_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file" / "hub"))
    (tmp_path / "file").touch()
    found = {finding.topic: finding for finding in machine.inspect_machine()}
    assert (found["downloads"].state, found["downloads"].found) == (
        "problem",
        f"{tmp_path / 'file'} cannot be written to",
    )


def test_folders_that_there_are_none_of_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", missing)
    monkeypatch.setenv("HF_HOME", "~nobody-of-this-name/hub")
    found = {finding.topic: finding for finding in machine.inspect_machine()}
    assert found["temporary files"].found == "there is none (No usable temporary directory found)"
    assert found["downloads"].state == "problem"
    assert "home directory" in found["downloads"].found


def test_an_address_that_is_none_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@[::bad")
    monkeypatch.setenv("HF_ENDPOINT", "nonsense")
    index, hub = network.inspect_network()
    assert (index.state, hub.state) == ("warning", "warning")
    assert index.found.startswith("[::bad cannot be reached")


def test_a_package_of_another_version_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "requires", lambda _: ["numpy<1", "pillow", "pytest; extra == 'dev'"])
    finding = software._requirements()
    assert finding.state == "problem"
    assert finding.found.startswith("of another version: numpy ")
    assert finding.found.endswith(" instead of <1")


def test_code_that_is_damaged_is_a_problem_and_ends_other_commands_in_one_line(tmp_path: Path) -> None:
    for name in (*NEIGHBORS, "panoptic_segformer", "pipelines", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    damaged = tmp_path / "panoptic" / "runtime" / "cli.py"
    damaged.write_bytes(damaged.read_bytes()[:700])
    command = ("-m", "panoptic_segformer")
    done = run_python(*command, "doctor", "--offline", "--json", folder=tmp_path, path=(tmp_path,))
    assert (done.returncode, done.stderr) == (1, "")
    assert findings(done.stdout)["own packages"]["found"] == "damaged: panoptic/runtime/cli.py"
    done = run_python(*command, "check", "data", folder=tmp_path, path=(tmp_path,))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: SyntaxError: ")
    assert "`panoptic doctor`" in done.stderr


def test_a_network_that_does_not_answer_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("HF_ENDPOINT", "http://192.0.2.1")  # of no machine, for documentation
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(network, "_SECONDS", 0.5)
    index, hub = network.inspect_network()
    assert (index.state, hub.state) == ("warning", "warning")
    assert "secret" not in index.found
    assert "--offline" in hub.hint


def test_gpus_that_torch_cannot_use_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "ask", lambda *_: "NVIDIA H100, 550.54\n")
    torch = {"version": "2.13.0+cpu", "cuda": None, "gpus": list[str]()}
    _, gpus = software._torch(torch)
    assert gpus == Finding("GPUs", "warning", "torch cannot use NVIDIA H100, 550.54", "install the torch for CUDA")
