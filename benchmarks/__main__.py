"""Run every comparison, print it and keep it in RESULTS.md."""

import os
import platform
import sys
from pathlib import Path

from benchmarks import database, detection, detectors, features

RESULTS = Path(__file__).with_name("RESULTS.md")

_HEADER = """\
# What the code costs against what one would otherwise do

Made by `make bench`, all of it in one run on {machine}: the ways of each task take turns, their outputs are
compared, and CPU time is counted, since machines are noisy. Ratios are what to look at.
"""


def main() -> None:
    """Compare, print and write."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    parts = [
        _HEADER.format(machine=machine),
        f"## Features\n\n{features.measure().strip()}\n",
        f"## Database\n\n{database.measure().strip()}\n",
        f"## Detectors\n\n{detectors.as_markdown(detectors.compare()).strip()}\n",
        f"## Scores on request\n\n{detection.measure().strip()}\n",
    ]
    text = "\n".join(parts)
    sys.stdout.write(text)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
