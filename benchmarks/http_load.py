"""A client that costs little, for constant and for greatest load on loopback."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Load:
    """What a run of requests found.

    Parameters
    ----------
    latencies : sequence of float
        Seconds of each request.
    seconds : float
        Of the whole run.
    failures : int
        Answers other than 200.
    """

    latencies: Sequence[float]
    seconds: float
    failures: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def milliseconds(self, percentile: float) -> float:
        """Latency that so many percent of the requests stay below."""
        return float(np.percentile(self.latencies, percentile)) * 1e3


def constant(port: int, path: str, bodies: Sequence[bytes], *, per_second: float, connections: int = 32) -> Load:
    """Send each body at its time, whether or not the earlier ones are answered.

    A latency counts from the time at which the request was due, so a server that stalls cannot hide it.
    """
    return asyncio.run(_constant(port, path, bodies, per_second, connections))


def greatest(port: int, path: str, bodies: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Let clients send one body after the other, each as soon as it has its answer."""
    return asyncio.run(_greatest(port, path, bodies, clients, seconds))


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "_Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes) -> bool:
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)
        return answer.startswith(b"http/1.1 200")

    def close(self) -> None:
        self._writer.close()


async def _constant(port: int, path: str, bodies: Sequence[bytes], per_second: float, connections: int) -> Load:
    opened = [await _Connection.open(port) for _ in range(connections)]
    # In turn: the server ends a connection that is idle for seconds.
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for connection in opened:
        free.put_nowait(connection)
    latencies, good = np.zeros(len(bodies)), np.zeros(len(bodies), dtype=bool)
    start = time.perf_counter() + 0.1

    async def one(position: int) -> None:
        due = start + position / per_second
        await asyncio.sleep(due - time.perf_counter())
        connection = await free.get()
        good[position] = await connection.post(path, bodies[position])
        free.put_nowait(connection)
        latencies[position] = time.perf_counter() - due

    await asyncio.gather(*(one(position) for position in range(len(bodies))))
    for connection in opened:
        connection.close()
    return Load(latencies.tolist(), time.perf_counter() - start, int((~good).sum()))


async def _greatest(port: int, path: str, bodies: Sequence[bytes], clients: int, seconds: float) -> Load:
    latencies: list[float] = []
    failures = 0
    start = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failures
        connection = await _Connection.open(port)
        position = number
        while (begun := time.perf_counter()) < start + seconds:
            failures += not await connection.post(path, bodies[position % len(bodies)])
            latencies.append(time.perf_counter() - begun)
            position += clients
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return Load(latencies, time.perf_counter() - start, failures)
