"""A proxy that spoils connections on purpose, between the pipeline and a real server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

BLOCK: Final = 65_536
SLOW_DOWN: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>Please try again.</Message></Error>'
)


@dataclass(frozen=True)
class Request:
    """What is known of an HTTP request before it is passed on."""

    number: int
    """Counted from 1 since the fault was set."""
    method: str
    path: str


@dataclass(frozen=True)
class Fault:
    """What happens to some HTTP requests.

    Parameters
    ----------
    kind
        ``500``, ``503``: answered in place of the server. ``slow``: passed on after `seconds`.
        ``lost``: the connection ends without an answer, nothing reaches the server. ``half sent``: only half of
        the request reaches it. ``answer lost``: the server does its work, and the connection ends before it answers.
        ``truncated``: half of the answer arrives, then the connection ends.
    hits
        Which requests.
    seconds
        Of ``slow``.
    """

    kind: str
    hits: Callable[[Request], bool]
    seconds: float = 0


@dataclass
class HttpProxy:
    """Passes requests on to `server`, one a connection, and does to them what `fault` says.

    Parameters
    ----------
    server
        Host and port.
    """

    server: tuple[str, int]
    fault: Fault | None = None
    requests: int = 0
    spoilt: int = 0

    def set(self, fault: Fault | None) -> None:
        """Begin with a fault, or end it; requests are counted anew."""
        self.requests = self.spoilt = 0
        self.fault = fault

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        async with _closed(writer):
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._exchange(reader, writer)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self.requests += 1
        fault = self.fault
        if fault is not None and not fault.hits(Request(self.requests, method, path)):
            fault = None
        self.spoilt += fault is not None
        kind = fault.kind if fault else ""
        body = await _body(reader, writer, head)
        if kind in {"500", "503"}:
            code = b"InternalError" if kind == "500" else b"SlowDown"
            content = b"" if method == "HEAD" else SLOW_DOWN % code
            length = f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            writer.write(f"HTTP/1.1 {kind} Fault\r\nContent-Type: application/xml\r\n{length}".encode() + content)
            await writer.drain()
            return
        if kind == "lost":
            return
        if fault is not None and kind == "slow":
            await asyncio.sleep(fault.seconds)
        upstream_reader, upstream = await asyncio.open_connection(*self.server)
        async with _closed(upstream):
            # One request a connection: where the answer ends need not be understood.
            request = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1) + body
            upstream.write(request[: len(request) // 2] if kind == "half sent" else request)
            await upstream.drain()
            if kind == "half sent":
                return
            answer = await upstream_reader.read(-1) if kind in {"answer lost", "truncated"} else b""
            if kind == "truncated":
                head_length = answer.find(b"\r\n\r\n") + 4
                writer.write(answer[: head_length + (len(answer) - head_length) // 2])
                await writer.drain()
            if not answer:
                await _pump(upstream_reader, writer)


@dataclass
class TcpProxy:
    """Passes bytes both ways, whatever they are; connections can be cut and refused.

    Parameters
    ----------
    server
        Host and port.
    """

    server: tuple[str, int]
    cut_after: int | None = None
    """Bytes of a client after which its connection is cut and all later ones are refused."""
    seconds: float = 0
    """How long each block is held back."""
    sent: int = 0
    down: bool = False
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    def set(self, *, cut_after: int | None = None, seconds: float = 0, down: bool = False) -> None:
        """Begin with a fault, or end it; bytes are counted anew."""
        self.cut_after, self.seconds, self.down, self.sent = cut_after, seconds, down, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        async with _closed(writer):
            if self.down:
                return
            upstream_reader, upstream = await asyncio.open_connection(*self.server)
            self.open |= {writer, upstream}
            async with _closed(upstream):
                back = asyncio.create_task(_pump(upstream_reader, writer))
                await self._forward(reader, upstream)
                back.cancel()
            self.open -= {writer, upstream}

    async def _forward(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while block := await reader.read(BLOCK):
                if self.seconds:
                    await asyncio.sleep(self.seconds)
                self.sent += len(block)
                if self.cut_after is not None and self.sent > self.cut_after:
                    self.down = True
                    for each in list(self.open):
                        each.transport.abort()
                    return
                upstream.write(block)
                await upstream.drain()


async def _body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bytes:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"expect") == b"100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    if fields.get(b"transfer-encoding") == b"chunked":
        chunks = b""
        while True:
            size = await reader.readuntil(b"\r\n")
            chunks += size + await reader.readexactly(int(size.split(b";")[0], 16) + 2)
            if int(size.split(b";")[0], 16) == 0:
                return chunks
    return await reader.readexactly(int(fields.get(b"content-length", 0)))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def _closed(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()


@contextmanager
def proxied(proxy: HttpProxy | TcpProxy) -> Iterator[int]:
    """Run a proxy in a thread; yields the port that it listens on."""
    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ended = asyncio.Event()
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=2**20) as server:
            started.set_result((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), ended))
            await ended.wait()
            # Connections that are open still end with the loop.

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    port, loop, ended = started.result(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


def address(url: str) -> tuple[str, int]:
    """Take host and port out of a URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
