"""What happens around every request: its id, one line in the log, its figures, and the last resort for errors."""

import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fraud_pipeline.api.problems import ProblemError, problem_response

if TYPE_CHECKING:
    from fraud_pipeline.api.metrics import Metrics

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
_HEADER: Final = b"x-request-id"
_USABLE_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_CLIENT_LEFT: Final = 499
"""Logged where a client went away before it had its answer; the number is that of nginx."""

_log = logging.getLogger("fraud_pipeline.api")


class RequestRecorder:
    """Pure ASGI middleware, so that it costs microseconds.

    A request id is taken from ``X-Request-ID`` or made, and given back. The log line has the route's
    template and neither path, query, body nor key: those may hold what is nobody's business.

    Parameters
    ----------
    app : ASGIApp
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, metrics: "Metrics") -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST_ID.set(request_id)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id.encode())]
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            # The edge: whatever went wrong is in the log, and the client learns only that something did.
            _log.exception("unexpected error")
            if status:
                raise
            fault = ProblemError(500, "", "A fault of the server, which its log describes under this request id.")
            await problem_response(Request(scope), fault)(scope, receive, send_with_id)
        finally:
            self._record(scope, status or _CLIENT_LEFT, time.perf_counter() - start)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.observe_request(scope["method"], route, status, seconds)
        if _log.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {
                "method": scope["method"],
                "route": route,
                "status": status,
                "milliseconds": round(seconds * 1000, 2),
                "client": scope["state"].get("client", ""),
            }
            _log.info("request", extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _HEADER and _USABLE_ID.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex
