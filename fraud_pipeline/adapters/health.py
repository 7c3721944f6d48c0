"""Single examinations of what the pipeline stands on; each says what it found and how to mend it."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from sqlalchemy import select

from fraud_pipeline.adapters import clock, storage
from fraud_pipeline.adapters.database.alert_tables import deployment_settings
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.status_repository import server_time
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.core.errors import FraudPipelineError

State = Literal["ok", "warning", "failed"]

LEAST_FREE_BYTES: Final = 1_000_000_000
LEAST_FREE_SHARE: Final = 0.1
SKEW: Final = timedelta(seconds=2)
"""More than this between two clocks is worth a look; an object store tells whole seconds."""
MUCH_SKEW: Final = timedelta(seconds=60)
_PROBE: Final = b"fraud-pipeline doctor"


@dataclass(frozen=True)
class Check:
    """One line of the doctor.

    Parameters
    ----------
    name : str
        What was examined.
    state : {"ok", "warning", "failed"}
    detail : str
        What was found.
    remedy : str
        What to do; empty where all is well or the detail says it.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Render it for programs."""
        return asdict(self)


def examine(name: str, look: Callable[[], Check | str]) -> Check:
    """Examine one thing: what the pipeline itself would refuse to work with has failed.

    Parameters
    ----------
    name : str
        What is examined.
    look : callable
        Gives the check, or what is well; the message of an error of the pipeline says what to do.
    """
    try:
        found = look()
    except FraudPipelineError as error:
        return Check(name, "failed", str(error))
    return found if isinstance(found, Check) else Check(name, "ok", found)


def storage_root(name: str, root: str) -> Check:
    """Write a small file below a storage root, read it, delete it, and compare the clock of an object store."""

    def look() -> Check | str:
        folder = storage.open_root(root)
        # Names with a dot are passed over by everything that lists the folder.
        probe = folder / f".doctor-{uuid4().hex}"
        try:
            storage.publish(probe, _PROBE)
            if storage.read(probe) != _PROBE:
                return Check(name, "failed", f"{root} gave back other bytes than it was given", "Check the storage.")
            stored = None if isinstance(probe, Path) else probe.fs.info(probe.path, refresh=True).get("LastModified")
        finally:
            storage.remove(probe)
        if stored is not None:
            compared = clock_skew(f"{name} clock", stored, clock.utc_now())
            if compared.state != "ok":
                return compared
        return f"{root} can be written, read and deleted from"

    return examine(name, look)


def disk_space(folder: Path) -> Check:
    """Look how full the disk of a folder is."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    usage = shutil.disk_usage(there)
    detail = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB free at {there}"
    remedy = "Free space: a night that finds the disk full fails, and has to be run again."
    if usage.free < LEAST_FREE_BYTES:
        return Check("disk", "failed", detail, remedy)
    if usage.free < LEAST_FREE_SHARE * usage.total:
        return Check("disk", "warning", detail, remedy)
    return Check("disk", "ok", detail)


def clock_skew(name: str, theirs: datetime, ours: datetime) -> Check:
    """Compare another clock with that of this host."""
    apart = abs(theirs - ours)
    detail = f"{apart.total_seconds():.1f} s from the clock of this host"
    remedy = "Let both synchronise with the same time servers (chrony, systemd-timesyncd)."
    if apart > MUCH_SKEW:
        return Check(name, "failed", detail, remedy)
    return Check(name, "warning", detail, remedy) if apart > SKEW else Check(name, "ok", detail)


def database_clock(database: Database) -> Check:
    """Compare the clock of the database with that of this host."""
    name = "database clock"

    def look() -> Check:
        server_time(database)  # connecting takes time that is no skew
        before = clock.utc_now()
        theirs = server_time(database)
        return clock_skew(name, theirs, before + (clock.utc_now() - before) / 2)

    return examine(name, look)


def time_zone(database: Database, expected: str) -> Check:
    """Compare the time zone that the triggers of the database know with the one that is set."""
    name = "time zone"

    def look() -> Check | str:
        with database.begin() as connection:
            known = connection.scalar(select(deployment_settings.c.time_zone))
        if known is None or known == expected:
            return f"{expected}, where it is now {clock.today(expected)}"
        return Check(
            name,
            "failed",
            f"FRAUD_PIPELINE_TIME_ZONE is {expected}, but the database files decisions by days of {known}",
            "Run `fraud-pipeline migrate` if the zone was changed on purpose, else correct the variable.",
        )

    return examine(name, look)


def champion(models: ModelStore) -> Check:
    """Load the model that scores, as a night does: every digest is compared."""
    name = "champion model"

    def look() -> Check | str:
        stored = models.champion()
        if stored is None:
            return Check(
                name, "warning", "there is none yet, so nothing is scored", "Train one: `fraud-pipeline train`."
            )
        since = models.champion_since(stored.version.version)
        age = "" if since is None else f", champion for {(clock.utc_now() - since).days} days"
        return f"version {stored.version.version} loads, SHA-256 {stored.version.sha256[:12]}… matches{age}"

    return examine(name, look)
