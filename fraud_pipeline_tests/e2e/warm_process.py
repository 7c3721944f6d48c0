"""The command in a process of its own whose libraries are loaded already: a trial takes the seconds of its work."""

import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psutil
import pytest

from fraud_pipeline import cli

LIBRARIES = (
    "boto3",
    "dagster",
    "mlflow",
    "pandera.pandas",
    "s3fs",
    "skops.io",
    "sklearn.ensemble",
    "xgboost",
    "fraud_pipeline.cli.data",
    "fraud_pipeline.cli.runs",
)
"""What a command imports when it needs it, imported once for all processes."""
CONTEXT = multiprocessing.get_context("forkserver")
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class WarmProcess:
    """A command at work.

    Parameters
    ----------
    process
        To wait for it or to kill it.
    output
        File of what it prints.
    """

    process: ForkServerProcess
    output: Path

    @classmethod
    def start(cls, environment: Mapping[str, str], output: Path, *arguments: object) -> "WarmProcess":
        """Run ``fraud-pipeline`` with these arguments and this environment alone."""
        with pytest.MonkeyPatch.context() as patch:
            # Read by the server of the forks, which starts with the first.
            patch.setenv("PYTHONPATH", str(PROJECT))
            patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
            CONTEXT.set_forkserver_preload([__name__, *LIBRARIES])
            process = CONTEXT.Process(target=_run, args=(dict(environment), output, [*map(str, arguments)]))
            process.start()
        return cls(process, output)

    def work_until(self, cpu_seconds: float) -> float:
        """Wait until it has used so much of the processor, or has ended; returns how much that was.

        Unlike the time of day this is the same place of the work on a busy machine.
        """
        used = 0.0
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            while used < cpu_seconds and process.status() != psutil.STATUS_ZOMBIE:
                times = process.cpu_times()
                used = times.user + times.system
                time.sleep(0.01)
        return used

    def wait(self, seconds: float = 180) -> int:
        """Wait for its end; returns the exit code, which is the negative signal where one ended it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"not at its end within {seconds:g} seconds: {self.output.read_text()[-2000:]}")
        return self.process.exitcode


def _run(environment: dict[str, str], output: Path, arguments: list[str]) -> None:
    os.environ.clear()  # noqa: TID251 - this process begins here
    os.environ.update(environment)  # noqa: TID251
    sys.argv = ["fraud-pipeline", *arguments]
    with output.open("w") as printed, redirect_stdout(printed), redirect_stderr(printed):
        cli.main()
