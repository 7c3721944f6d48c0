"""Background programs that outlive the command that starts them (Linux)."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from fraud_pipeline.core.errors import ConfigurationError, FraudPipelineError

_POLL = 0.1  # seconds between two looks at a process or a server


@dataclass(frozen=True)
class _Started:
    """A process as it was recorded: a pid alone could belong to another program by now."""

    pid: int
    start_time: str

    def is_running(self) -> bool:
        # Empty if it had already ended when it was recorded.
        return self.start_time != "" and self.start_time == _start_time(self.pid)


class ProcessGroup:
    """Named background processes, recorded in a folder so that any later command finds them again.

    Parameters
    ----------
    state_dir : Path
        Folder of the record ``processes.json``; created when the first process starts.
    """

    def __init__(self, state_dir: Path) -> None:
        self._record = state_dir / "processes.json"
        self._lock = state_dir / "processes.lock"
        # Our own children stay zombies, and so look alive to others, until they are polled.
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], log_file: Path) -> int:
        """Start a process in a session of its own, unless one of that name is running.

        Parameters
        ----------
        name : str
            Name to find the process by.
        command : sequence of str
            Program and arguments.
        env : mapping of str to str
            The whole environment of the process.
        log_file : Path
            Receives its output, after what is there.

        Returns
        -------
        int
            Pid of the new process, or of the one that is running already.

        Raises
        ------
        ConfigurationError
            If the program or the log file cannot be opened.
        """
        with self._locked() as processes:
            if name in processes:
                return processes[name].pid
            try:
                log_file.parent.mkdir(parents=True, exist_ok=True)
                with log_file.open("ab") as log:
                    child = subprocess.Popen(  # noqa: S603 -- a list of arguments from our own code, no shell
                        command,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
            except OSError as error:
                msg = (
                    f"{name} cannot be started: {error}; check that {command[0]} is installed and {log_file} writable."
                )
                raise ConfigurationError(msg) from error
            self._children.append(child)
            processes[name] = _Started(child.pid, _start_time(child.pid))
            return child.pid

    def running(self) -> dict[str, int]:
        """Return the pids of the recorded processes that are running, by name."""
        return {name: process.pid for name, process in self._read().items()}

    def stop(self, timeout: float = 15) -> list[str]:
        """Stop all recorded processes together with the processes that they started.

        Parameters
        ----------
        timeout : float, default 15
            Seconds between asking them to end (SIGTERM) and ending them (SIGKILL).

        Returns
        -------
        list of str
            Names of the processes that were running.

        Raises
        ------
        ConfigurationError
            If the record cannot be read or written.
        """
        if not self._record.exists():
            return []
        with self._locked() as processes:
            groups = [process.pid for process in processes.values()]
            self._signal(groups, signal.SIGTERM, timeout)
            # Nothing survives SIGKILL; the kernel only needs a moment.
            self._signal(groups, signal.SIGKILL, timeout=5)
            stopped = list(processes)
            processes.clear()
        return stopped

    def _signal(self, groups: list[int], number: signal.Signals, timeout: float) -> None:
        """Send a signal to the process groups and wait until they are empty."""
        waiting = self._alive(groups)
        for group in waiting:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
        deadline = time.monotonic() + timeout
        while waiting and time.monotonic() < deadline:
            time.sleep(_POLL)
            waiting = self._alive(waiting)

    def _alive(self, groups: list[int]) -> list[int]:
        self._children = [child for child in self._children if child.poll() is None]
        found = {int(fields[2]) for fields in map(_status, _pids()) if fields}
        return [group for group in groups if group in found]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, _Started]]:
        """Give the running processes for change; one command at a time, written back at once."""
        try:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                processes = self._read()
                yield processes
                new = self._record.with_suffix(".new")
                new.write_text(json.dumps({name: asdict(process) for name, process in processes.items()}))
                new.replace(self._record)
        except OSError as error:
            msg = f"{self._record} cannot be written: {error.strerror}; free the disk, or choose another folder."
            raise ConfigurationError(msg) from error

    def _read(self) -> dict[str, _Started]:
        try:
            record = json.loads(self._record.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            msg = f"{self._record} cannot be read ({error}); delete it, and end the programs that it named by hand."
            raise ConfigurationError(msg) from error
        processes = {name: _Started(**entry) for name, entry in record.items()}
        return {name: process for name, process in processes.items() if process.is_running()}


def require_free_port(port: int, setting_name: str) -> None:
    """Check that a program can listen on a port of this host.

    Parameters
    ----------
    port : int
        TCP port.
    setting_name : str
        Setting that the error message tells the user to change.

    Raises
    ------
    ConfigurationError
        If another program listens there, or this user may not.
    """
    with socket.socket() as probe:
        # Connections of a server that has just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            problem = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            msg = f"port {port} {problem}; stop that program or set {setting_name} to a free port"
            raise ConfigurationError(msg) from error


def wait_for_http(url: str, timeout: float, process_alive: Callable[[], bool], log_file: Path) -> None:
    """Wait until a server answers.

    Parameters
    ----------
    url : str
        Address that answers without an error status once the server is ready.
    timeout : float
        Seconds to wait at most.
    process_alive : callable
        Whether the process of the server is still running.
    log_file : Path
        Log of the server, which the error message points to.

    Raises
    ------
    FraudPipelineError
        If the process ends or the time is over before the server answers.
    """
    opener = build_opener(ProxyHandler({}))  # our own server, never through a proxy
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not process_alive():
            msg = f"The server for {url} ended before it answered; the last lines of {log_file} say why."
            raise FraudPipelineError(msg)
        # Any trouble, even an error status, means that it is not ready yet.
        with contextlib.suppress(OSError, HTTPException):
            opener.open(url, timeout=2).close()
            return
        time.sleep(_POLL)
    msg = f"The server for {url} did not answer within {timeout:g} seconds; see the last lines of {log_file}."
    raise FraudPipelineError(msg)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _status(pid: int) -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` from the third, the state; none if the process has ended."""
    try:
        # The second field is the name in brackets and may itself hold brackets and blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [] if fields[0] in "ZX" else fields


def _start_time(pid: int) -> str:
    """Return what no other process shares: boot of this host and clock tick of the start; empty if it has ended."""
    fields = _status(pid)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {fields[19]}" if fields else ""
