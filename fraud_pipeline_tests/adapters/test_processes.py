import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from fraud_pipeline.adapters.processes import ProcessGroup, require_free_port, wait_for_http
from fraud_pipeline.core.errors import ConfigurationError, FraudPipelineError

SLEEP = ["sleep", "60"]
ENVIRONMENT = {"PATH": os.defpath}


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state" / "processes"


@pytest.fixture
def group(state_dir: Path) -> Iterator[ProcessGroup]:
    group = ProcessGroup(state_dir)
    yield group
    group.stop(timeout=0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "program.log"


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def exists(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_started_process_runs_until_it_is_stopped(group: ProcessGroup, log: Path) -> None:
    pid = group.start("webserver", SLEEP, ENVIRONMENT, log)
    assert group.running() == {"webserver": pid}
    assert os.getsid(pid) == pid
    assert group.stop() == ["webserver"]
    assert not exists(pid)
    assert group.running() == {}


def test_stopping_twice_or_without_anything_running_is_fine(group: ProcessGroup, log: Path) -> None:
    assert group.running() == {}
    assert group.stop() == []
    group.start("webserver", SLEEP, ENVIRONMENT, log)
    group.start("daemon", SLEEP, ENVIRONMENT, log)
    assert sorted(group.stop()) == ["daemon", "webserver"]
    assert group.stop() == []


def test_a_process_of_that_name_is_not_started_again_while_it_runs(group: ProcessGroup, log: Path) -> None:
    pid = group.start("webserver", SLEEP, ENVIRONMENT, log)
    assert group.start("webserver", SLEEP, ENVIRONMENT, log) == pid
    group.stop()
    assert group.start("webserver", SLEEP, ENVIRONMENT, log) != pid


def test_output_is_appended_to_the_log_and_the_environment_is_the_given_one(group: ProcessGroup, log: Path) -> None:
    script = 'echo "colour is $COLOUR" "$HOME"; echo trouble >&2'
    for colour in ("red", "blue"):
        group.start("printer", ["sh", "-c", script], {**ENVIRONMENT, "COLOUR": colour}, log)
        assert eventually(lambda: group.running() == {})
    assert log.read_text() == "colour is red \ntrouble\ncolour is blue \ntrouble\n"


def test_a_process_that_ended_is_not_running(group: ProcessGroup, log: Path) -> None:
    group.start("short", ["true"], ENVIRONMENT, log)
    assert eventually(lambda: group.running() == {})
    assert group.stop() == []


def test_a_missing_program_is_named(group: ProcessGroup, log: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"webserver cannot be started: .*no-such-program is installed"):
        group.start("webserver", ["no-such-program"], ENVIRONMENT, log)
    assert group.running() == {}


def test_children_of_a_process_are_stopped_with_it(group: ProcessGroup, log: Path) -> None:
    group.start("webserver", ["sh", "-c", "sleep 60 & echo $!; wait"], ENVIRONMENT, log)
    assert eventually(lambda: log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    assert exists(grandchild)
    group.stop()
    assert not exists(grandchild)


def test_a_process_that_ignores_sigterm_is_killed_after_the_timeout(group: ProcessGroup, log: Path) -> None:
    pid = group.start(
        "stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], ENVIRONMENT, log
    )
    assert eventually(lambda: log.read_text() == "ready\n")
    began = time.monotonic()
    assert group.stop(timeout=0.5) == ["stubborn"]
    assert time.monotonic() - began >= 0.5
    assert not exists(pid)


def test_a_process_gets_the_time_it_needs_to_end_by_itself(group: ProcessGroup, log: Path) -> None:
    script = "trap 'sleep 0.3; echo tidied up; exit' TERM; echo ready; while :; do sleep 0.05; done"
    group.start("tidy", ["sh", "-c", script], ENVIRONMENT, log)
    assert eventually(lambda: log.read_text() == "ready\n")
    group.stop(timeout=20)
    assert log.read_text().endswith("tidied up\n")


def test_leftovers_of_a_killed_parent_are_found_and_stopped(state_dir: Path, log: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from fraud_pipeline.adapters.processes import ProcessGroup
ProcessGroup(Path({str(state_dir)!r})).start("daemon", {SLEEP!r}, {ENVIRONMENT!r}, Path({str(log)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run([sys.executable, "-c", script], check=False)  # noqa: S603 -- the script above
    assert parent.returncode == -signal.SIGKILL
    group = ProcessGroup(state_dir)
    pid = group.running()["daemon"]
    assert exists(pid)
    assert group.stop() == ["daemon"]
    assert not exists(pid)


@pytest.mark.parametrize("field", ["tick", "boot"])
def test_another_program_that_got_the_recorded_pid_is_never_killed(
    field: str, group: ProcessGroup, state_dir: Path, log: Path
) -> None:
    pid = group.start("webserver", SLEEP, ENVIRONMENT, log)
    record = state_dir / "processes.json"
    genuine = record.read_text()
    boot, tick = json.loads(genuine)["webserver"]["start_time"].split()
    changed = f"{boot} {int(tick) - 1}" if field == "tick" else f"{boot[::-1]} {tick}"
    record.write_text(genuine.replace(f"{boot} {tick}", changed))
    assert group.running() == {}
    assert group.stop() == []
    assert exists(pid)
    record.write_text(genuine)
    assert group.stop() == ["webserver"]


def test_a_recorded_pid_that_no_process_has_is_forgotten(group: ProcessGroup, state_dir: Path) -> None:
    state_dir.mkdir(parents=True)
    above_the_highest_pid = 2**22 + 1
    (state_dir / "processes.json").write_text(
        json.dumps({"webserver": {"pid": above_the_highest_pid, "start_time": "a-boot 1"}})
    )
    assert group.running() == {}
    assert group.stop() == []


def test_a_program_name_with_brackets_and_blanks_is_found_again(
    group: ProcessGroup, state_dir: Path, tmp_path: Path, log: Path
) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    pid = group.start("odd", [str(program), "60"], ENVIRONMENT, log)
    assert ProcessGroup(state_dir).running() == {"odd": pid}


def test_a_port_in_use_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        expected = f"port {port} is in use; stop that program or set FRAUD_PIPELINE_UI_PORT to a free port"
        with pytest.raises(ConfigurationError, match=f"^{expected}$"):
            require_free_port(port, "FRAUD_PIPELINE_UI_PORT")
    require_free_port(port, "FRAUD_PIPELINE_UI_PORT")


class BusyOnce(BaseHTTPRequestHandler):
    statuses: list[int]

    def do_GET(self) -> None:
        self.send_response(self.statuses.pop(0))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def starting_server() -> Iterator[str]:
    BusyOnce.statuses = [503, 200]
    with ThreadingHTTPServer(("127.0.0.1", 0), BusyOnce) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/server_info"
        server.shutdown()


def test_waiting_ends_when_the_server_answers_without_an_error_and_uses_no_proxy(
    starting_server: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    wait_for_http(starting_server, 20, lambda: True, log)
    assert BusyOnce.statuses == []


def test_waiting_ends_when_the_process_has_ended(starting_server: str, log: Path) -> None:
    with pytest.raises(FraudPipelineError, match=f"{starting_server} ended before it answered.*{log}"):
        wait_for_http(starting_server, 20, lambda: False, log)


def test_waiting_ends_when_the_time_is_over(log: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(FraudPipelineError, match=rf"did not answer within 0\.3 seconds; see the last lines of {log}"):
        wait_for_http(url, 0.3, lambda: True, log)
