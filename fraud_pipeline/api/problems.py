"""Errors as clients see them: problem details (RFC 9457), which never show what is inside."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException, RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse

from fraud_pipeline.core.errors import (
    ConflictError,
    DatabaseError,
    InvalidDataError,
    InvalidMoveError,
    ModelArtefactError,
    NotFoundError,
)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
_TYPE_PREFIX: Final = "urn:fraud-pipeline:problem:"
_log = logging.getLogger("fraud_pipeline.api")
_MAX_FAULTS: Final = 20
"""Faults of a request that an answer lists; a batch may have thousands."""


class Problem(BaseModel):
    """Problem details of RFC 9457; further members belong to the type."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": f"{_TYPE_PREFIX}stale-version",
                    "title": "Conflict",
                    "status": 409,
                    "detail": "Alert 17 is at version 3, not 2: read it again and decide anew.",
                    "request_id": "5c0f3a2e9d3b4d0f9a51f4f2a3b0c6de",
                    "current_version": 3,
                }
            ]
        },
    )

    type: str = Field(description="Kind of the problem, as a URN; about:blank where the status says all.")
    title: str = Field(description="The status in words.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What is wrong with this request, and what to do.")
    request_id: str = Field(description="As in the header X-Request-ID and in the server's log.")


class ProblemError(HTTPException):
    """A problem to answer a request with.

    Parameters
    ----------
    status : int
        HTTP status.
    kind : str
        Last part of the type URN; empty for ``about:blank``.
    detail : str
        One or two sentences for the client.
    headers : mapping, optional
    **members
        Further members of the problem.
    """

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind
        self.members = members


def no_model() -> ProblemError:
    """Say that nothing can be scored yet."""
    return ProblemError(
        503,
        "no-model",
        "No model is loaded: it still loads, or none was trained yet; GET /health says which.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def problem_response(request: Request, error: ProblemError) -> JSONResponse:
    """Render a problem for a request."""
    content = {
        "type": f"{_TYPE_PREFIX}{error.kind}" if error.kind else "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": error.detail,
        "request_id": request.scope["state"]["request_id"],
        **error.members,
    }
    return JSONResponse(content, error.status_code, error.headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe answers with problems for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content, "headers": _headers(status)}
        for status in statuses
    }


def invalid_request(faults: Sequence[Mapping[str, Any]], where: Sequence[str | int] = ()) -> ProblemError:
    """Say what is wrong with a request from the errors of pydantic, without repeating its values."""
    listed = [
        {"location": [*where, *fault["loc"]], "message": str(fault["msg"]).removeprefix("Value error, ")}
        for fault in faults[:_MAX_FAULTS]
    ]
    first = listed[0]
    place = ".".join(map(str, first["location"])) or "body"
    more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
    return ProblemError(422, "invalid-request", f"{place}: {first['message']}{more}.", errors=listed)


def install(app: FastAPI) -> None:
    """Let an application answer every error as a problem."""
    app.add_exception_handler(ProblemError, _own)
    app.add_exception_handler(StarletteHTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    for error in _TRANSLATIONS:
        app.add_exception_handler(error, _of_pipeline)


def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for it alone
    return problem_response(request, error)


def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 - registered for it alone
    detail = {
        404: "There is nothing at this path; GET /openapi.json describes what there is.",
        405: f"{request.method} is not possible here; the header Allow says what is.",
    }.get(error.status_code, str(error.detail))
    return problem_response(request, ProblemError(error.status_code, "", detail, headers=error.headers))


def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    return problem_response(request, invalid_request(error.errors()))


def _of_pipeline(request: Request, error: Exception) -> JSONResponse:
    translate = next(_TRANSLATIONS[kind] for kind in type(error).__mro__ if kind in _TRANSLATIONS)
    problem = translate(error)
    if problem.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        _log.warning("%s", error)  # the client gets another sentence
    return problem_response(request, problem)


def _unavailable(what: str) -> ProblemError:
    return ProblemError(
        503, "unavailable", f"{what}; GET /health says more. Try again.", headers={"Retry-After": str(RETRY_SECONDS)}
    )


_TRANSLATIONS: Final[dict[type, Any]] = {
    NotFoundError: lambda error: ProblemError(404, "not-found", str(error)),
    ConflictError: lambda error: ProblemError(409, "stale-version", str(error), current_version=error.current_version),
    InvalidMoveError: lambda error: ProblemError(409, "invalid-move", str(error), allowed_moves=sorted(error.allowed)),
    InvalidDataError: lambda error: ProblemError(422, "invalid-change", str(error)),
    # Their sentences are for who runs the server, and name its places.
    DatabaseError: lambda _: _unavailable("The database cannot serve this request now"),
    ModelArtefactError: lambda _: _unavailable("There is no model to score with now"),
}

_DESCRIPTIONS: Final = {
    401: "No key, or one that is unknown, expired or revoked.",
    403: "The key lacks the scope that this needs.",
    404: "There is no such alert.",
    409: "The alert was changed since that version, the move is not allowed, or the same Idempotency-Key is at work.",
    412: "The alert is not the one of the header If-Match any more.",
    413: "The body is larger than the server takes.",
    415: "The body is not application/json.",
    422: "The request is not as described here.",
    428: "Neither a version nor the header If-Match was given.",
    429: "The key has made too many requests.",
    500: "A fault of the server; its log has the request id.",
    503: "The database or the model cannot serve this request now.",
}


def _headers(status: int) -> dict[str, Any]:
    named = {
        401: ("WWW-Authenticate", "How to authenticate."),
        429: ("Retry-After", "Seconds until the next request can succeed."),
        503: ("Retry-After", "Seconds to wait before the next try."),
    }
    headers = {"X-Request-ID": {"description": "Id of the request.", "schema": {"type": "string"}}}
    if status in named:
        name, description = named[status]
        headers[name] = {"description": description, "schema": {"type": "string"}}
    return headers
