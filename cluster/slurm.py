"""Run a command as a SLURM job: write its script, submit it, watch it to its end, cancel it if the watcher is stopped.

SLURM itself knows which job is whose, by the job's name; there are no lock files. After a watcher was killed, the same
command therefore finds its job again and continues to watch it.
"""

import hashlib
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.settings import ClusterSettings

TEMPLATE = Path(__file__).with_name("job.sh")
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 600.0
"""How long to keep asking a controller that does not answer."""
# A job in any other state is running, or will run.
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}
_STATE = re.compile(r"\bJobState=(\w+)")
_EXIT_CODE = re.compile(r"\bExitCode=(\d+):(\d+)")


class SlurmError(ValueError):
    """SLURM refused a request, or does not answer."""


@dataclass(frozen=True)
class Job:
    """A SLURM job: its ID and the file for its output."""

    id: int
    log: Path


@dataclass(frozen=True)
class JobEnd:
    """End of a job; `code` is its exit status, 128 + the number of a signal, or 1 if SLURM ended it."""

    state: str
    code: int


def job_script(settings: ClusterSettings, name: str, comment: str, log: Path, command: Sequence[str]) -> str:
    """Return the batch script that runs the module `command[0]` with its arguments.

    Args:
        settings: Resources to request.
        name: Name of the job.
        comment: Digest that distinguishes jobs of the same name with different settings.
        log: File for the output, to which every restart appends.
        command: Module and its arguments.

    Raises:
        SlurmError: As in `_quoted`.
    """
    values = {
        "directives": "\n".join(f"#SBATCH {option}" for option in _options(settings, name, comment, log)),
        "folder": shlex.quote(str(Path.cwd())),
        "setup": settings.setup.strip(),
        "nodes": str(settings.nodes),
        "threads": str(settings.cpus_per_process),
        "cpus": str(settings.cpus_per_process * settings.processes_per_node),
        "python": f"{settings.container} {shlex.quote(settings.python or sys.executable)}".strip(),
        "settings": shlex.quote(json.dumps(asdict(settings))),
        "command": shlex.join(command),
        "requeue": "yes" if settings.requeue else "no",
    }
    # In one pass: a value that looks like a placeholder stays as it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def _options(settings: ClusterSettings, name: str, comment: str, log: Path) -> list[str]:
    cpus = settings.cpus_per_process * settings.processes_per_node
    output = _quoted(f"--output={log.parent}".replace("%", "%%") + f"/{log.name}")
    options = [_quoted(f"--job-name={name}"), _quoted(f"--comment={comment}"), output, "--open-mode=append"]
    options += [f"--nodes={settings.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cpus}"]
    options += [f"--time={settings.time}", "--requeue" if settings.requeue else "--no-requeue"]
    options += [f"--signal=B:USR1@{settings.notice_seconds}"] if settings.notice_seconds else []
    options += [f"--gpus-per-node={settings.gpus_per_node}"] if settings.gpus_per_node else []
    options += [f"--partition={settings.partition}"] if settings.partition else []
    options += [f"--account={settings.account}"] if settings.account else []
    options += [f"--mem={settings.memory}"] if settings.memory else []
    return [*options, *settings.options]


def _quoted(option: str) -> str:
    """Quote an option for a line of directives, which SLURM splits at spaces, quotes and `#`, but cannot continue.

    Raises:
        SlurmError: It has a character that SLURM cannot take; a backslash would turn off `%j` in names of files.
    """
    if "\\" in option or not option.isprintable():
        raise SlurmError(
            f"SLURM cannot take a backslash or a control character, as in {option!r}; rename or move the folder"
        )
    return shlex.quote(option)


def submit_or_find(settings: ClusterSettings, command: Sequence[str], params: Path, folder: Path) -> Job:
    """Find the pending or running job for `command` in this folder, or submit a new one.

    The job reads a copy of `params` in `folder`, so that later changes to the file do not affect it.

    Raises:
        SlurmError: SLURM refuses the job, or there is still one with other settings.
    """
    folder = folder.resolve()
    name = f"{command[0]}-{_digest(str(Path.cwd()), *command)}"
    comment = _digest(params.read_text(encoding="utf-8"), repr(settings))
    for line in _slurm("squeue", "--me", "--noheader", f"--name={name}", "--format=%i %T %k").splitlines():
        job_id, state, present = line.split(maxsplit=2)
        if state in ENDED or state == "COMPLETING":
            continue
        if present.strip() != comment:
            raise SlurmError(
                f"job {job_id} ({state.lower()}) runs this command with other settings; wait or `scancel {job_id}`"
            )
        print(f"job {job_id} is already {state.lower()}: watching it", flush=True)
        return Job(int(job_id), folder / f"{name}-{job_id}.log")
    folder.mkdir(parents=True, exist_ok=True)
    settings_file = folder / f"{name}-{comment}.yaml"
    _write(settings_file, params.read_text(encoding="utf-8"))
    script = folder / f"{name}.sh"
    # The last --params wins.
    arguments = [*command, "--params", str(settings_file)]
    _write(script, job_script(settings, name, comment, folder / f"{name}-%j.log", arguments))
    job_id = _slurm("sbatch", "--parsable", str(script)).strip().split(";")[0]
    print(f"job {job_id} submitted: {script}", flush=True)
    return Job(int(job_id), folder / f"{name}-{job_id}.log")


def watch(job: Job) -> JobEnd:
    """Print a job's output until it has ended, across all its restarts.

    Raises:
        SlurmError: SLURM no longer knows the job, or has not answered for ten minutes.
    """
    shown, seen_ended, answered = 0, False, time.monotonic()
    while True:
        try:
            record = _slurm("scontrol", "--oneliner", "show", "job", str(job.id))
            answered = time.monotonic()
        except SlurmError as error:
            if "Invalid job id" in str(error) or time.monotonic() > answered + PATIENCE_SECONDS:
                raise SlurmError(f"the outcome of job {job.id} is unknown ({error}); see {job.log}") from None
            record = ""
        shown = _pass_on(job.log, shown)
        state = _STATE.search(record)
        ended = state is not None and state[1] in ENDED
        # A job that is being requeued may briefly look ended.
        if ended and seen_ended:
            assert state is not None
            return JobEnd(state[1], _exit_code(state[1], record))
        seen_ended = ended
        time.sleep(POLL_SECONDS)


def cancel(job: Job) -> None:
    """Cancel a job; this has no effect on one that has ended."""
    subprocess.run(["scancel", str(job.id)], capture_output=True, timeout=60)


def _exit_code(state: str, record: str) -> int:
    found = _EXIT_CODE.search(record)
    code = (int(found[1]) or (128 + int(found[2]) if int(found[2]) else 0)) if found else 0
    return code if code or state == "COMPLETED" else 1


def _pass_on(log: Path, shown: int) -> int:
    """Print new output; the file is reopened, which makes a network file system look again."""
    try:
        with log.open("rb") as file:
            file.seek(shown)
            while chunk := file.read(1 << 16):
                sys.stdout.buffer.write(chunk)
                shown += len(chunk)
    except FileNotFoundError:
        return shown
    sys.stdout.flush()
    return shown


def _slurm(*command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise SlurmError(
            f"no program {command[0]}; submit from a login node, or set the launcher to torchrun"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"`{shlex.join(command)}` did not answer within a minute") from None
    if answer.returncode:
        said = answer.stderr.strip() or f"ended with status {answer.returncode} without a message"
        raise SlurmError(f"`{shlex.join(command)}`: {said}")
    return answer.stdout


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
