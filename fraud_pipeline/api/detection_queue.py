"""One thread that computes: what arrives while it is busy is computed together, next."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Generic, NamedTuple, TypeVar

from fraud_pipeline.core.errors import FraudPipelineError

MOST_AT_ONCE: Final = 2_000
"""Transactions of several requests that are computed together; a larger request is computed alone."""

COMPANY_SECONDS: Final = 0.001
"""How long a request waits for others that follow closely on the round before it: together they cost far less."""

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class _Job(NamedTuple, Generic[_Request, _Answer]):
    request: _Request
    size: int
    future: "Future[_Answer]"


class DetectionQueue(Generic[_Request, _Answer]):
    """Requests wait here for the one thread that works on them; when it was idle, a request does not wait.

    Parameters
    ----------
    work : callable
        Takes some requests, and gives the answer to each, which must not depend on the others.
    """

    def __init__(self, work: Callable[[Sequence[_Request]], list[_Answer]]) -> None:
        self._work = work
        self._jobs: list[_Job[_Request, _Answer]] = []
        self._wake = threading.Condition()
        self._is_open = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="detection", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Work off what waits, take nothing more, and end the thread."""
        with self._wake:
            self._is_open = False
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def submit(self, request: _Request, size: int) -> "Future[_Answer]":
        """Hand in a request of so many transactions.

        Raises
        ------
        RuntimeError
            If the queue is not open.
        """
        future: Future[_Answer] = Future()
        with self._wake:
            if not self._is_open:
                raise RuntimeError("the detection service is not running; start it first.")
            self._jobs.append(_Job(request, size, future))
            self._wake.notify()
        return future

    def _run(self) -> None:
        ended = -COMPANY_SECONDS
        while True:
            with self._wake:
                while self._is_open and not self._jobs:
                    self._wake.wait()
            if time.monotonic() - ended < COMPANY_SECONDS:
                time.sleep(COMPANY_SECONDS)
            with self._wake:
                if not self._jobs:
                    return
                jobs = self._take()
            self._answer([job for job in jobs if job.future.set_running_or_notify_cancel()])
            ended = time.monotonic()

    def _take(self) -> list[_Job[_Request, _Answer]]:
        """Take as many of the oldest requests as go together, at least one."""
        size, count = 0, 0
        for job in self._jobs:
            size += job.size
            if count and size > MOST_AT_ONCE:
                break
            count += 1
        taken, self._jobs = self._jobs[:count], self._jobs[count:]
        return taken

    def _answer(self, jobs: list[_Job[_Request, _Answer]]) -> None:
        try:
            answers = self._work([job.request for job in jobs])
        except FraudPipelineError as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
            else:
                # Whose fault it was shows when each is computed alone.
                for job in jobs:
                    self._answer([job])
            return
        except BaseException as error:
            # The thread lives on, and whoever waits is told.
            for job in jobs:
                job.future.set_exception(error)
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.future.set_result(answer)
