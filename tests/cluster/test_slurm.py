"""Job scripts, and watching jobs with programs that answer like SLURM's. tests/stages has tests with a real SLURM."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster import slurm
from cluster.settings import ClusterSettings
from cluster.slurm import Job, JobEnd, SlurmError, job_script, submit_or_find, watch

SETTINGS = ClusterSettings(
    launcher="slurm",
    nodes=2,
    processes_per_node=4,
    gpus_per_node=4,
    cpus_per_process=3,
    partition="gpu",
    time="1-00:00:00",
    setup="module load cuda",
    container="apptainer exec --nv image.sif",
    python="python3",
    options=["--constraint=a100"],
)


def script(settings: ClusterSettings = SETTINGS) -> str:
    return job_script(settings, "name", "comment", Path("/logs/name-%j.log"), ["stages.train", "--model", "a b.st"])


def test_the_script_requests_the_resources_in_the_settings() -> None:
    options = [line.removeprefix("#SBATCH ") for line in script().splitlines() if line.startswith("#SBATCH ")]
    expected = {"--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=12", "--gpus-per-node=4", "--partition=gpu"}
    expected |= {"--time=1-00:00:00", "--requeue", "--signal=B:USR1@120", "--constraint=a100"}
    expected |= {"--open-mode=append", "--output=/logs/name-%j.log", "--job-name=name", "--comment=comment"}
    assert set(options) == expected
    assert "--no-requeue" in script(ClusterSettings(launcher="slurm", requeue=False))


def test_the_script_is_complete_and_valid_shell() -> None:
    text = script()
    assert "{{" not in text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    srun = text[text.index("\nsrun") :].split("&\n")[0].replace("\\\n", " ")
    words = shlex.split(srun)
    assert words[-3:] == ["stages.train", "--model", "a b.st"]
    assert words[words.index("python3") - 4 : words.index("python3")] == ["apptainer", "exec", "--nv", "image.sif"]
    settings = words[words.index("cluster.agent") + 1]
    assert ClusterSettings(**json.loads(settings)) == SETTINGS
    assert text.index("module load cuda") < text.index("\nsrun")


ODD = """a "quote", it's größe $(touch BAD) `touch BAD` %20 %j # ;& {{setup}}"""


def directives(text: str) -> list[str]:
    """Split the directives of a script into options, as SLURM does."""
    lines = (line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH "))
    return [option for line in lines for option in shlex.split(line, comments=True)]


def test_the_script_names_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM replaces `%j` in the name of the log, but nothing in its folder; bash ends up in the folder."""
    folder = tmp_path / ODD
    folder.mkdir()
    monkeypatch.chdir(folder)
    text = job_script(SETTINGS, ODD, "comment", folder / "name-%j.log", ["stages.train", ODD])
    assert f"--output={str(folder).replace('%', '%%')}/name-%j.log" in directives(text)
    assert f"--job-name={ODD}" in directives(text)
    start = text.replace(SETTINGS.setup, "pwd; exit")
    done = subprocess.run(["bash"], input=start, capture_output=True, text=True, check=True)
    assert done.stdout == f"{folder}\n"
    assert shlex.split(text[text.index("\nsrun") :].split(" &\nstep=")[0])[-1] == ODD
    assert not list(tmp_path.rglob("BAD"))


@pytest.mark.parametrize("character", ["\n", "\t", "\\", "\x1b"])
def test_a_folder_that_slurm_cannot_take_is_refused(character: str) -> None:
    with pytest.raises(SlurmError, match="SLURM cannot take a backslash or a control character, as in '--output="):
        job_script(SETTINGS, "name", "comment", Path(f"/a{character}touch BAD/name-%j.log"), ["stages.train"])


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="SLURM is not installed (sbatch missing)")
def test_sbatch_reads_the_directives_of_any_folder(tmp_path: Path) -> None:
    """It prints them before it looks for its controller, which is not there."""
    lines = ("ClusterName=none", "SlurmctldHost=localhost(127.0.0.1)", "SlurmctldPort=9", "MessageTimeout=1")
    nodes = ("NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1", "PartitionName=one Nodes=ALL")
    (tmp_path / "slurm.conf").write_text("\n".join((*lines, *nodes, "")))
    script = tmp_path / "script.sh"
    script.write_text(job_script(SETTINGS, ODD, "comment", tmp_path / ODD / "name-%j.log", ["stages.train"]))
    environment = {**os.environ, "SLURM_CONF": str(tmp_path / "slurm.conf")}
    command = ["sbatch", "--test-only", "-vv", str(script)]
    said: dict[str, str] = {}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "output" not in said:
            line = process.stderr.readline()
            assert line
            assert "error" not in line
            name, _, value = line.removeprefix("sbatch: ").partition(": ")
            said[name.strip()] = value.rstrip("\n")
        process.kill()
    assert said["output"] == f"{tmp_path / ODD}/name-%j.log".replace("%20 %j", "%%20 %%j")
    assert said["job-name"] == ODD


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs at the front of PATH; each call is recorded in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.0)
    return folder


def answer(folder: Path, program: str, shell: str) -> None:
    file = folder / program
    file.write_text(f'#!/bin/sh\necho "{program} $*" >> {folder}/calls\n{shell}\n')
    file.chmod(0o755)


def in_turn(folder: Path, *records: str) -> str:
    """Return shell code that prints one record per call, then repeats the last; a leading `!` makes it an error."""
    (folder / "records").write_text("\n".join(records) + "\n")
    return f"""
n=$(cat {folder}/n 2>/dev/null || echo 1); echo $((n + 1)) > {folder}/n
line=$(sed -n "$n"p {folder}/records); [ -n "$line" ] || line=$(tail -n 1 {folder}/records)
case $line in !*) echo "$line" >&2; exit 1;; esac
echo "$line" """


@pytest.mark.parametrize(
    ("records", "end"),
    [
        (["JobState=RUNNING ExitCode=0:0", "JobState=COMPLETED ExitCode=0:0"], JobEnd("COMPLETED", 0)),
        (["JobState=FAILED ExitCode=3:0"], JobEnd("FAILED", 3)),
        (["JobState=FAILED ExitCode=0:9"], JobEnd("FAILED", 137)),
        (["JobState=TIMEOUT ExitCode=0:0"], JobEnd("TIMEOUT", 1)),
        (
            ["JobState=NODE_FAIL ExitCode=0:1", "JobState=PENDING ExitCode=0:0", "JobState=COMPLETED ExitCode=0:0"],
            JobEnd("COMPLETED", 0),
        ),
        (["!Unable to contact slurm controller", "JobState=COMPLETED ExitCode=0:0"], JobEnd("COMPLETED", 0)),
    ],
    ids=["completed", "failed", "killed", "time", "requeued", "controller away"],
)
def test_a_job_is_watched_to_its_end(answers: Path, tmp_path: Path, records: list[str], end: JobEnd) -> None:
    answer(answers, "scontrol", in_turn(answers, *records))
    assert watch(Job(7, tmp_path / "log")) == end


def test_output_is_printed_once(answers: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    log = tmp_path / "log"
    answer(answers, "scontrol", f"printf 'line\\n' >> {log}; echo JobState=COMPLETED ExitCode=0:0")
    watch(Job(7, log))
    assert capfdbinary.readouterr().out == b"line\nline\n" == log.read_bytes()


def test_a_job_unknown_to_slurm_is_an_error(answers: Path, tmp_path: Path) -> None:
    answer(answers, "scontrol", "echo 'Invalid job id specified' >&2; exit 1")
    with pytest.raises(SlurmError, match=r"the outcome of job 7 is unknown .* see .*log"):
        watch(Job(7, tmp_path / "log"))


def test_a_job_keeps_the_settings_of_its_submission(answers: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train: {}")
    answer(answers, "squeue", "true")
    answer(answers, "sbatch", "echo '7;cluster'")
    job = submit_or_find(SETTINGS, ["stages.train", "--params", str(params)], params, tmp_path / "jobs")
    params.write_text("train: {seed: 1}")
    (written,) = (tmp_path / "jobs").glob("*.sh")
    command = shlex.split(written.read_text().split(" stages.train ")[1].split("&")[0])
    assert command[-2] == "--params"
    assert Path(command[-1]).read_text() == "train: {}"
    assert job == Job(7, (tmp_path / "jobs" / f"{written.stem}-7.log"))


def test_without_slurm_the_error_suggests_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="no program squeue; submit from a login node, or set the launcher"):
        submit_or_find(SETTINGS, ["stages.train"], tmp_path / "params.yaml", tmp_path / "jobs")


def test_stopping_the_watcher_cancels_the_job(answers: Path, tmp_path: Path) -> None:
    answer(answers, "squeue", "true")
    answer(answers, "sbatch", "echo 7")
    answer(answers, "scontrol", "echo JobState=RUNNING ExitCode=0:0")
    answer(answers, "scancel", "true")
    (tmp_path / "params.yaml").touch()
    command = [sys.executable, "-m", "cluster", '{"launcher": "slurm"}', str(tmp_path / "params.yaml")]
    watcher = subprocess.Popen([*command, str(tmp_path / "jobs"), "stages.train"], stderr=subprocess.DEVNULL)
    while "scontrol" not in ((answers / "calls").read_text() if (answers / "calls").exists() else ""):
        assert watcher.poll() is None
        time.sleep(0.02)
    watcher.send_signal(signal.SIGTERM)
    assert watcher.wait(timeout=30) == 128 + signal.SIGTERM
    assert "scancel 7" in (answers / "calls").read_text()
