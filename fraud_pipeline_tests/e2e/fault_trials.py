"""What a trial does: let a fault happen, look at what is to be seen, run again without it, and compare."""

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from fraud_pipeline_tests.e2e.deployment import LATER, NIGHTS
from fraud_pipeline_tests.e2e.fault_proxy import Fault, HttpProxy, Request, TcpProxy, address, proxied
from fraud_pipeline_tests.e2e.faults import Lab, Prefix, Snapshot, Trial, duplicates, unlike
from fraud_pipeline_tests.e2e.production import BUCKET
from fraud_pipeline_tests.e2e.warm_process import WarmProcess

CORRECTED, NEW = NIGHTS[-1], LATER[0]
WORK: Final = ("run", "--nightly", "--from", CORRECTED, "--to", NEW)
"""A day that was scored before and is delivered once more with other rows, then a new day."""
KILLS: Final = 24


@dataclass
class Outcome:
    """What a fault did, and what was left of it.

    Parameters
    ----------
    name
        Of the fault.
    """

    name: str
    moment: str = ""
    codes: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    done: int = 0
    torn: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    left_by_fault: int = 0
    unlike: list[str] = field(default_factory=list)
    seconds: float = 0

    def verify(self) -> None:
        """Fail unless the fault left nothing that a run again did not put right, and said what was wrong."""
        assert not self.torn, f"half-done: {self.torn}"
        assert not self.differences, self.unlike
        assert not self.duplicates
        assert not self.leftovers
        assert set(self.codes) <= {0, 2, -9}, self.said
        for code, said in zip(self.codes, self.said, strict=True):
            assert said.startswith("error: ") == (code == 2), said

    def __str__(self) -> str:
        counts = f"{self.done} parts done, {self.left_by_fault} temporary files, ended {self.codes}"
        return f"{self.name:<32}{self.moment:<34}{counts}, {self.seconds:.0f} s; {self.said[0][:150]}"


@dataclass(frozen=True)
class Undisturbed:
    """The states between which no other may be seen, and how long the work takes.

    Parameters
    ----------
    states
        Before, after the first night, after the second.
    cpu_seconds
        That the command used.
    database_url
        As the last state left it.
    """

    states: tuple[Snapshot, Snapshot, Snapshot]
    cpu_seconds: float
    database_url: str


def run(trial: Trial, *arguments: object, **variables: str) -> str:
    """Run a command to its success; returns what it printed."""
    process = trial.begin(*arguments, **variables)
    code = process.wait()
    assert code == 0, process.output.read_text()
    return process.output.read_text()


def examine(trial: Trial, undisturbed: Undisturbed, outcome: Outcome, disturb: Callable[[], None]) -> Outcome:
    """Let a fault happen, look at what is there, run again without it, and compare."""
    start = time.monotonic()
    disturb()
    before, _, after = undisturbed.states
    seen = trial.snapshot()
    outcome.torn = seen.torn(undisturbed.states)
    outcome.done = len(set(before.differences(after)) - set(seen.differences(after)))
    outcome.left_by_fault = len(trial.files.leftovers())
    run(trial, *WORK)
    outcome.differences = trial.snapshot().differences(after)
    for part in outcome.differences:
        if part.startswith("table"):
            outcome.unlike += unlike(part, trial.database_url, undisturbed.database_url)[:4]
    outcome.duplicates = duplicates(trial.database_url)
    outcome.leftovers = trial.files.leftovers()
    outcome.seconds = time.monotonic() - start
    return outcome


def note(outcome: Outcome, process: WarmProcess) -> None:
    """Wait for the end of the disturbed command, and keep how it ended."""
    outcome.codes.append(process.wait(400))
    printed = process.output.read_text().splitlines()
    outcome.said.append(next((line for line in printed if line.startswith("error")), printed[-1] if printed else ""))


# --- What a trial does. Each takes the lab, and is run beside another.


def kill(number: int, lab: Lab, undisturbed: Undisturbed) -> Outcome:
    """End the process that does the work, with a signal that it cannot see."""
    # One moment in each of the equal parts of the work.
    share = (number + random.Random(number).random()) / KILLS  # noqa: S311 - a moment, no secret
    outcome = Outcome(f"kill -9, {number + 1}", f"after {share:.0%} of the work")
    with lab.trial(f"kill_{number}") as trial:

        def disturb() -> None:
            process = trial.begin(*WORK)
            process.work_until(share * undisturbed.cpu_seconds)
            process.process.kill()
            note(outcome, process)

        return examine(trial, undisturbed, outcome, disturb)


def object_store_fails(kind: str, pattern: str, lab: Lab, undisturbed: Undisturbed) -> Outcome:
    """Let requests to the object store fail, every seventh or all from one on."""
    name = f"s3_{kind}_{pattern}".replace(" ", "_")
    store = lab.production.store
    proxy = HttpProxy(address(store.endpoint))
    files = Prefix(store, f"{name}/lake/")
    with lab.trial(name) as copied, proxied(proxy) as port:
        files.write(copied.files.read())
        proxied_store = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "FRAUD_PIPELINE_LAKE_ROOT": f"s3://{BUCKET}/{name}/lake",
        }
        deployment = replace(copied.deployment, variables={**copied.deployment.variables, **proxied_store})
        trial = Trial(deployment, files, copied.database_url)
        first = random.Random(name).randrange(40, 90)  # noqa: S311 - a moment, no secret

        def hits(request: Request) -> bool:
            return request.number % 7 == 3 if pattern == "now and then" else request.number >= first

        outcome = Outcome(f"S3 {kind}", pattern if pattern == "now and then" else f"all from request {first} on")

        def disturb() -> None:
            proxy.set(Fault(kind, hits, seconds=0.3))
            note(outcome, trial.begin(*WORK))
            outcome.moment += f", {proxy.spoilt} of {proxy.requests}"
            proxy.set(None)

        return examine(trial, undisturbed, outcome, disturb)


def postgres_is_lost(number: int, lab: Lab, undisturbed: Undisturbed) -> Outcome:
    """Cut all connections to PostgreSQL after some bytes, and refuse new ones until the end of the command."""
    cut_after = random.Random(number).randrange(10_000, 700_000)  # noqa: S311 - a moment, no secret
    outcome = Outcome(f"PostgreSQL lost, {number + 1}", f"after {cut_after:,} bytes")
    proxy = TcpProxy(address(lab.production.postgres.url))
    with lab.trial(f"postgres_{number}") as trial, proxied(proxy) as port:

        def disturb() -> None:
            proxy.set(cut_after=cut_after)
            url = trial.database_url.replace(f":{proxy.server[1]}/", f":{port}/")
            note(outcome, trial.begin(*WORK, FRAUD_PIPELINE_DATABASE_URL=url))
            outcome.moment += f" of {proxy.sent:,}"

        return examine(trial, undisturbed, outcome, disturb)


def mlflow_is_lost(number: int, lab: Lab, undisturbed: Undisturbed) -> Outcome:
    """Lose MLflow while the model is looked up, or have none from the beginning."""
    cut_after = (-1, 500, 3000)[number]
    outcome = Outcome(f"MLflow lost, {number + 1}", f"after {cut_after} bytes" if number else "down")
    proxy = TcpProxy(address(lab.production.mlflow.url))
    with lab.trial(f"mlflow_{number}") as trial, proxied(proxy) as port:

        def disturb() -> None:
            proxy.set(cut_after=cut_after, down=number == 0)
            note(outcome, trial.begin(*WORK, FRAUD_PIPELINE_MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}"))

        return examine(trial, undisturbed, outcome, disturb)


def disk_is_full(number: int, lab: Lab, undisturbed: Undisturbed) -> Outcome:
    """Give the lake a disk on which only some kilobytes are left."""
    left = (0, 60, 250)[number]
    outcome = Outcome(f"disk full, {number + 1}", f"{left} kB left")
    with lab.trial(f"disk_{number}") as trial, small_disk(trial.deployment.home / "lake", left) as grow:

        def disturb() -> None:
            note(outcome, trial.begin(*WORK))
            grow()

        return examine(trial, undisturbed, outcome, disturb)


@contextmanager
def small_disk(folder: Path, left_kb: int) -> Iterator[Callable[[], None]]:
    """Put a folder on a disk of its own, nearly full; yields what gives it more space."""
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder))
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        used = shutil.disk_usage(folder).used // 1024
        mount("-o", f"remount,size={used + left_kb}k", str(folder))
        yield lambda: mount("-o", "remount,size=64m", str(folder))
    finally:
        subprocess.run(["/bin/umount", str(folder)], check=True)  # noqa: S603 - our own folder


def mount(*arguments: str) -> None:
    subprocess.run(["/bin/mount", *arguments], check=True, capture_output=True)  # noqa: S603 - our own folder


def two_at_once(lab: Lab, undisturbed: Undisturbed) -> Outcome:
    """Run the same nights twice at the same time, past the queue that would keep them apart."""
    outcome = Outcome("two runs at once", "the same two nights")
    with lab.trial("two") as trial:

        def disturb() -> None:
            processes = [trial.begin(*WORK), trial.begin(*WORK)]
            for process in processes:
                note(outcome, process)

        return examine(trial, undisturbed, outcome, disturb)


STORE_FAULTS: Final = {
    "now and then": ("500", "503", "slow", "lost", "truncated"),
    "for good": ("503", "half sent", "answer lost", "truncated"),
}
SCENARIOS: Final[dict[str, Callable[[Lab, Undisturbed], Outcome]]] = {
    **{f"kill-{number + 1}": partial(kill, number) for number in range(KILLS)},
    **{
        f"s3-{kind}-{pattern}": partial(object_store_fails, kind, pattern)
        for pattern, kinds in STORE_FAULTS.items()
        for kind in kinds
    },
    **{f"postgres-lost-{number + 1}": partial(postgres_is_lost, number) for number in range(4)},
    **{f"mlflow-lost-{number + 1}": partial(mlflow_is_lost, number) for number in range(3)},
    **{f"disk-full-{number + 1}": partial(disk_is_full, number) for number in range(3)},
    "two-at-once": two_at_once,
}
