"""Keep DVC's state of a project in a folder for its owner alone.

DVC reads this state with `pickle`, which runs what it reads (CVE-2025-69872), and by default keeps it below
/var/tmp/dvc, where all users may write.
"""

import subprocess
import sys
from pathlib import Path

from pipelines.process.private_folder import make_private

STATE = Path(".dvc", "tmp", "site")


def keep_state_private(folder: Path) -> None:
    """Create the folder for the state in the project, and have DVC use it, with a setting of this copy alone.

    Raises:
        ValueError: The folder cannot be written, or belongs to somebody else.
    """
    if not (folder / ".dvc").is_dir():
        return
    state, local = (folder / STATE).resolve(), folder / ".dvc" / "config.local"
    make_private(state, "remove it, or work in a copy of the project that you own")
    # DVC cannot write an umlaut into its settings; a relative path serves commands in the project's folder alone.
    value = str(state) if str(state).isascii() else str(STATE)
    if local.is_file() and f"site_cache_dir = {value}\n" in local.read_text(encoding="utf-8"):
        return
    command = [sys.executable, "-m", "dvc", "config", "--local", "core.site_cache_dir", value]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
