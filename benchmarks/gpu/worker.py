"""One part of the GPU benchmark in a process of its own, which reads its name and the settings as JSON.

Whatever ends it (no memory, an illegal access, which no later call of its process survives) ends no other part.

echo '{"part": "copy", "settings": {...}}' | python -m benchmarks.gpu.worker
"""

import json
import sys
from dataclasses import asdict

from benchmarks.gpu.operator import first_line
from benchmarks.gpu.parts import PARTS, GpuSettings
from panoptic.runtime.cli import end_with_parent


def main() -> None:
    """Measure, and print findings, or the reason why there are none, in the last line."""
    end_with_parent()
    task = json.load(sys.stdin)
    part = next(part for part in PARTS if part.name == task["part"])
    try:
        answer: dict[str, object] = {"findings": asdict(part.measure(GpuSettings.of(task["settings"])))}
    except Exception as error:  # named in the page
        answer = {"reason": first_line(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
