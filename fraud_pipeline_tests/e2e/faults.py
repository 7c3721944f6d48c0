"""Trials: a copy of one deployment, a fault at work in it, and what is left in lake and tables."""

import hashlib
import itertools
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

import pandas as pd
import psycopg
from psycopg import sql

from fraud_pipeline.adapters.database.statistics_repository import ALERT_METRICS
from fraud_pipeline_tests.e2e.deployment import COMMAND, Deployment
from fraud_pipeline_tests.e2e.production import BUCKET, Production
from fraud_pipeline_tests.e2e.servers import ObjectStore
from fraud_pipeline_tests.e2e.warm_process import WarmProcess

OF_A_RUN: Final = frozenset(
    {"alert_id", "case_id", "event_id", "pipeline_run_id", "run_id"}
    | {
        "at",
        "breached_at",
        "computed_as_of",
        "created_at",
        "due_at",
        "opened_at",
        "raised_at",
        "updated_at",
        "written_at",
    }
)
"""Columns that name a run, its time, or a number that counts attempts as well: they differ from run to run."""
JOURNALS: Final = frozenset({"pipeline_runs", "alert_events", "alembic_version"})
"""Tables that keep a row for each attempt."""


_ALERT_METRICS: Final = sql.SQL("(t.metric = any({}))::text").format(sql.Literal(list(ALERT_METRICS)))
WRITERS: Final = {"alerts": sql.SQL("t.selection"), "model_metrics": _ALERT_METRICS}
"""Tables of which two assets write the same day, one after the other: what tells their rows apart."""


class Files(Protocol):
    """The lake of a trial, wherever it is."""

    def read(self) -> dict[str, bytes]:
        """Read all files that a reader would be shown, by key."""

    def leftovers(self) -> list[str]:
        """List what a reader is not shown: temporary files, unfinished uploads."""


@dataclass(frozen=True)
class Folder:
    """A lake in a folder."""

    path: Path

    def read(self) -> dict[str, bytes]:
        """Read all files whose names do not begin with a dot."""
        return {str(path.relative_to(self.path)): path.read_bytes() for path in self._files() if path.name[0] != "."}

    def leftovers(self) -> list[str]:
        """List temporary files."""
        return [str(path.relative_to(self.path)) for path in self._files() if path.name[0] == "."]

    def _files(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if path.is_file()]


@dataclass(frozen=True)
class Prefix:
    """A lake below a prefix of a bucket; objects that did not change are fetched once."""

    store: ObjectStore
    prefix: str
    known: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def read(self) -> dict[str, bytes]:
        """Read all objects."""
        client = self.store.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self.prefix)
        found = {}
        for entry in itertools.chain.from_iterable(page.get("Contents", []) for page in pages):
            version = (entry["Key"], entry["ETag"])
            if version not in self.known:
                self.known[version] = client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            found[entry["Key"].removeprefix(self.prefix)] = self.known[version]
        return found

    def write(self, files: Mapping[str, bytes]) -> None:
        """Make the objects below the prefix exactly these."""
        client, there = self.store.client(), self.read()
        for key in there.keys() - files.keys():
            client.delete_object(Bucket=BUCKET, Key=self.prefix + key)
        for key, data in files.items():
            if there.get(key) != data:
                client.put_object(Bucket=BUCKET, Key=self.prefix + key, Body=data)

    def leftovers(self) -> list[str]:
        """List unfinished uploads and objects that the lake would not list."""
        uploads = self.store.client().list_multipart_uploads(Bucket=BUCKET, Prefix=self.prefix).get("Uploads", [])
        return [upload["Key"] for upload in uploads] + [key for key in self.read() if "/." in key]


@dataclass(frozen=True)
class Snapshot:
    """What lake and tables hold, apart from what differs from run to run anyway.

    Parameters
    ----------
    parts
        Digest of each file and of each day of each table.
    """

    parts: Mapping[str, str]

    @classmethod
    def take(cls, files: Files, database_url: str) -> "Snapshot":
        """Read everything; a file that cannot be decoded is a failure in itself."""
        digests = {f"file {key}": digest_of_file(key, data) for key, data in files.read().items()}
        return cls(digests | _digests_of_tables(database_url))

    def differences(self, other: "Snapshot") -> list[str]:
        """List the parts that are not the same in both."""
        return sorted(
            key for key in self.parts.keys() | other.parts.keys() if self.parts.get(key) != other.parts.get(key)
        )

    def torn(self, whole: Collection["Snapshot"]) -> list[str]:
        """List the parts that are in none of the states that they may be in."""
        keys = self.parts.keys() | set().union(*(each.parts.keys() for each in whole))
        return sorted(key for key in keys if self.parts.get(key) not in {each.parts.get(key) for each in whole})


@lru_cache(maxsize=4096)
def digest_of_file(key: str, data: bytes) -> str:
    """Digest the rows of a Parquet file, or the bytes of another file."""
    if key.endswith(".parquet"):
        frame = pd.read_parquet(BytesIO(data))
        data = frame.drop(columns=[name for name in frame if name in OF_A_RUN]).to_csv(index=False).encode()
    return hashlib.sha256(data).hexdigest()


def _digests_of_tables(database_url: str) -> dict[str, str]:
    digests: dict[str, str] = {}
    with psycopg.connect(database_url) as session:
        tables = session.execute(
            "select c.relname, coalesce((select min(attname) from pg_attribute a where a.attrelid = c.oid and "
            "attname in ('event_day', 'known_day')), '') from pg_class c "
            "where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition"
        ).fetchall()
        for table, day in tables:
            if table in JOURNALS:
                continue
            query = sql.SQL(
                "select day, md5(string_agg(content, ' ' order by content)) from (select {} as day, "
                "(to_jsonb(t) - %s::text[])::text as content from {} t) as rows group by day"
            ).format(
                sql.SQL("concat_ws(' ', {}, {})").format(
                    sql.SQL("t.{}").format(sql.Identifier(day)) if day else sql.SQL("''"),
                    WRITERS.get(table, sql.SQL("null")),
                ),
                sql.Identifier(table),
            )
            digests |= {f"table {table} {each}": text for each, text in session.execute(query, [sorted(OF_A_RUN)])}
    return digests


def unlike(part: str, database_url: str, other_url: str) -> list[str]:
    """List rows of a part of a table, as in :class:`Snapshot`, that are in one database only."""
    _, table, day, *_ = [*part.split(" "), ""]
    query = sql.SQL("select (to_jsonb(t) - %s::text[])::text from {} t").format(sql.Identifier(table))
    found = []
    for url in (database_url, other_url):
        with psycopg.connect(url) as session:
            found.append({row[0] for row in session.execute(query, [sorted(OF_A_RUN)]) if day in row[0]})
    return sorted(found[0] ^ found[1])


def duplicates(database_url: str) -> list[str]:
    """List transactions with more than one alert."""
    with psycopg.connect(database_url) as session:
        found = session.execute("select transaction_id from alerts group by transaction_id having count(*) > 1")
        return [row[0] for row in found]


@dataclass(frozen=True)
class Trial:
    """One copy of the deployment.

    Parameters
    ----------
    deployment
        Its variables; the database and the services are those that `Lab` names unless a fault is in between.
    files
        Its lake.
    database_url
        Past the pipeline and any fault.
    """

    deployment: Deployment
    files: Files
    database_url: str

    def begin(self, *arguments: object, **variables: str) -> WarmProcess:
        """Start a command."""
        environment = self.deployment.environment | variables
        return WarmProcess.start(environment, self.deployment.home / f"output-{uuid4().hex}", *arguments)

    def run_cold(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in an interpreter of its own."""
        return subprocess.run(  # noqa: S603 - our own command
            [COMMAND, *map(str, arguments)],
            env=self.deployment.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def snapshot(self) -> Snapshot:
        """Read what lake and tables hold."""
        return Snapshot.take(self.files, self.database_url)


@dataclass(frozen=True)
class Lab:
    """What all trials begin with.

    Parameters
    ----------
    folder
        For copies.
    base
        Home folder with landing zone and lake.
    production
        The servers.
    template
        Database to copy.
    """

    folder: Path
    base: Path
    production: Production
    template: str

    @contextmanager
    def trial(self, name: str, **variables: str) -> Iterator[Trial]:
        """Copy everything; the copy goes with the block."""
        home = self.folder / name
        shutil.copytree(self.base, home)
        try:
            with self._database(name) as url:
                yield Trial(Deployment(home, self._variables(home, url) | variables), Folder(home / "lake"), url)
        finally:
            shutil.rmtree(home)

    def _variables(self, home: Path, url: str) -> dict[str, str]:
        own = ("DAGSTER_HOME", "FRAUD_PIPELINE_LANDING_ROOT", "FRAUD_PIPELINE_LAKE_ROOT")
        common = {key: value for key, value in self.production.deployment.variables.items() if key not in own}
        return common | {"FRAUD_PIPELINE_DATABASE_URL": url, "DAGSTER_HOME": str(home / "dagster")}

    @contextmanager
    def _database(self, name: str) -> Iterator[str]:
        identifier = sql.Identifier(name)
        server = self.production.postgres.url
        with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
            # The other strategy copies sequences so that they go back to where they were if the server then crashes.
            create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
            session.execute(create.format(identifier, sql.Identifier(self.template)))
        try:
            yield f"{server}/{name}"
        finally:
            with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
                session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
