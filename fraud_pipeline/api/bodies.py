"""Bodies of requests: read within the limit, checked, and said what is wrong with."""

from typing import Any, Final, TypeVar

from anyio.to_thread import run_sync
from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect

from fraud_pipeline.api.problems import ProblemError, invalid_request

_T = TypeVar("_T")
_QUICK_BYTES: Final = 16_384
"""Up to here a body is checked at once: handing it to a thread would take longer."""


async def read_json(request: Request, adapter: TypeAdapter[_T]) -> tuple[_T, bytes]:
    """Read the body of a request as JSON.

    Parameters
    ----------
    request : Request
    adapter : TypeAdapter
        Checks it.

    Returns
    -------
    object, bytes
        What the adapter made of the body, and the body.

    Raises
    ------
    ProblemError
        400: the client went away; 413: larger than the server takes; 415: no JSON; 422: not as described.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(415, "", "Send the body as JSON, with the header `Content-Type: application/json`.")
    body = await _read(request, request.app.state.settings.api_max_body_bytes)
    try:
        if len(body) <= _QUICK_BYTES:
            return adapter.validate_json(body), body
        return await run_sync(adapter.validate_json, body), body
    except ValidationError as error:
        faults: list[Any] = error.errors(include_url=False, include_input=False, include_context=False)
        raise invalid_request(faults, ["body"]) from None


async def _read(request: Request, most: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise _too_large(most)
            chunks.append(chunk)
    except ClientDisconnect:
        raise ProblemError(400, "", "The connection was closed before the whole body was sent.") from None
    return b"".join(chunks)


def _too_large(most: int) -> ProblemError:
    # What is still on its way is not read, so the connection cannot serve another request.
    detail = f"The body is larger than {most:,} bytes: send less, such as smaller batches."
    return ProblemError(413, "", detail, headers={"Connection": "close"})
