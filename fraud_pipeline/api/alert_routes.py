"""The alerts of analysts: lists, one alert with its history, statistics, changes."""

import hashlib
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Any, Final

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import TypeAdapter
from starlette.responses import JSONResponse

from fraud_pipeline.adapters.clock import today
from fraud_pipeline.adapters.database import alert_queries, api_repository, workflow_repository
from fraud_pipeline.adapters.database.alert_queries import AlertFilter
from fraud_pipeline.adapters.database.api_repository import StoredAnswer
from fraud_pipeline.api import cursors
from fraud_pipeline.api.alert_models import (
    LARGEST_ID,
    AlertChangeIn,
    AlertDetail,
    AlertId,
    AlertPage,
    Selection,
    Statistics,
    Status,
)
from fraud_pipeline.api.bodies import read_json
from fraud_pipeline.api.models import Priority, RiskLevel
from fraud_pipeline.api.problems import ProblemError, documented
from fraud_pipeline.api.security import Caller, authenticate
from fraud_pipeline.core.errors import ConflictError, NotFoundError

_CHANGE: Final = TypeAdapter(AlertChangeIn)
_DETAIL: Final = TypeAdapter(AlertDetail)
_LONGEST_RANGE: Final = timedelta(days=366)
_TEXT: Final = {"min_length": 1, "max_length": 128, "pattern": r"^[^\x00]*$"}
_READ: Final[dict[str, Any]] = {"security": [{"api_key": ["alerts:read"]}]}
_READ_ERRORS: Final = (401, 403, 422, 429, 500, 503)

FirstDay = Annotated[date | None, Query(alias="from", description="Day of the transactions, from this one on.")]
LastDay = Annotated[date | None, Query(alias="to", description="Day of the transactions, up to this one.")]

router = APIRouter(tags=["alerts"])


async def _reader(request: Request) -> Caller:
    return await authenticate(request, "alerts:read")


Reader = Annotated[Caller, Depends(_reader)]


@router.get(
    "/alerts", summary="List alerts", responses=documented(*_READ_ERRORS), openapi_extra=_READ, response_model=AlertPage
)
def list_alerts(
    request: Request,
    _caller: Reader,
    status: Annotated[list[Status], Query(description="Any of these; may be given again.")] = [],  # noqa: B006
    risk: Annotated[list[RiskLevel], Query(description="Any of these; may be given again.")] = [],  # noqa: B006
    priority: Annotated[list[Priority], Query(description="Urgency now: any of these.")] = [],  # noqa: B006
    user: Annotated[str | None, Query(**_TEXT, description="Card holder.")] = None,
    merchant: Annotated[str | None, Query(**_TEXT)] = None,
    assignee: Annotated[str | None, Query(**_TEXT, description="Who works on it.")] = None,
    case: Annotated[int | None, Query(ge=1, le=LARGEST_ID, description="Number of the case.")] = None,
    first_day: FirstDay = None,
    last_day: LastDay = None,
    selection: Annotated[
        Selection, Query(description="threshold: alerts; random_sample: what was drawn below the threshold.")
    ] = "threshold",
    limit: Annotated[int, Query(ge=1, le=1000, description="Most alerts of a page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before.")] = None,
) -> dict[str, Any]:
    """List alerts, the most urgent first, of these what is due first.

    An alert that nobody changes while a client pages through comes once and only once, whatever is raised meanwhile.
    """
    which = AlertFilter(
        selection, tuple(status), tuple(risk), tuple(priority), user, merchant, assignee, case, first_day, last_day
    )
    after = None if cursor is None else cursors.decode(cursor, which)
    with request.app.state.database.begin() as connection:
        page, place = alert_queries.list_alerts(connection, which, limit, after)
    return {"alerts": page, "next_cursor": None if place is None else cursors.encode(place, which)}


@router.get(
    "/alerts/statistics",
    summary="Count alerts and what became of them",
    responses=documented(*_READ_ERRORS),
    openapi_extra=_READ,
    response_model=Statistics,
)
def statistics(
    request: Request, _caller: Reader, first_day: FirstDay = None, last_day: LastDay = None
) -> dict[str, Any]:
    """Say how the alerts of a range of days were worked on, over all and by day and model version.

    Without `to` the range ends today, without `from` it has 30 days; it has at most 366. Random samples do not count.
    """
    last = last_day or today(request.app.state.settings.time_zone)
    first = first_day or (last - timedelta(days=29) if last.toordinal() > 30 else date.min)
    if not timedelta(0) <= last - first < _LONGEST_RANGE:
        raise ProblemError(
            422,
            "invalid-range",
            f"{first} to {last} is no range of 1 to {_LONGEST_RANGE.days} days: give other days as from and to.",
        )
    with request.app.state.database.begin() as connection:
        total, by_day = alert_queries.alert_statistics(connection, first, last)
    return {"first_day": first, "last_day": last, "total": total, "by_day": by_day}


@router.get(
    "/alerts/{alert_id}",
    summary="Look at an alert",
    responses=documented(*_READ_ERRORS, 404),
    openapi_extra=_READ,
    response_model=AlertDetail,
)
def read_alert(
    request: Request, response: Response, _caller: Reader, alert_id: Annotated[AlertId, Path()]
) -> dict[str, Any]:
    """Give an alert with its reasons, its case and what happened to both; the header ETag has its version."""
    with request.app.state.database.begin() as connection:
        found = alert_queries.alert_detail(connection, alert_id)
    if found is None:
        raise _unknown(alert_id)
    response.headers["ETag"] = _etag(found["version"])
    return found


@router.put(
    "/alerts/{alert_id}",
    summary="Change an alert",
    responses=documented(401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 500, 503),
    openapi_extra={
        "security": [{"api_key": ["alerts:write"]}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AlertChangeIn"}}},
        },
    },
    response_model=AlertDetail,
)
async def change_alert(
    request: Request,
    alert_id: Annotated[AlertId, Path()],
    if_match: Annotated[
        str | None, Header(description='ETag that was read, such as "3"; instead of `version` in the body.')
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="A text of the client's own, new for every change: the same request sent again within a day "
            "gets the same answer and changes nothing more.",
        ),
    ] = None,
) -> Response:
    """Change status, outcome, assignee, snooze or priority of an alert, or comment on it.

    Who changes it is the name of the key. A change has to name the version that it was made from: if somebody else
    changed the alert meanwhile, nothing is written and the answer is 409 (412 with If-Match) with the current version.
    """
    caller = await authenticate(request, "alerts:write")
    wanted, body = await read_json(request, _CHANGE)
    version = _expected_version(wanted, if_match)
    work = partial(
        _change, request, caller, alert_id, wanted, version, idempotency_key, _digest(request, if_match, body)
    )
    try:
        answer = await run_sync(work)
    except ConflictError as error:
        if if_match is None:
            raise
        raise ProblemError(412, "stale-version", str(error), current_version=error.current_version) from None
    except NotFoundError:
        raise _unknown(alert_id) from None
    return JSONResponse(answer.body, answer.status_code, {"ETag": _etag(answer.body["version"])})


def _change(
    request: Request,
    caller: Caller,
    alert_id: int,
    wanted: AlertChangeIn,
    version: int,
    idempotency_key: str | None,
    request_sha256: str,
) -> StoredAnswer:
    """Change an alert and keep the answer in one transaction, so that neither is there without the other."""
    state = request.app.state
    with state.database.begin() as connection:
        if idempotency_key is not None:
            if not api_repository.claim_idempotency_key(connection, caller.key_id, idempotency_key):
                raise ProblemError(
                    409, "request-in-progress", "A request with this Idempotency-Key is at work: wait for its answer."
                )
            stored = api_repository.stored_answer(connection, caller.key_id, idempotency_key)
            if stored is not None:
                if stored.request_sha256 != request_sha256:
                    raise ProblemError(
                        422,
                        "idempotency-key-reused",
                        "This Idempotency-Key belongs to another request: make a new one.",
                    )
                return stored
        workflow_repository.change_alert_in(
            connection,
            alert_id,
            wanted.change(),
            actor=caller.name,
            expected_version=version,
            sla_hours=state.settings.sla_hours,
        )
        detail = _DETAIL.validate_python(alert_queries.alert_detail(connection, alert_id))
        answer = StoredAnswer(request_sha256, 200, _DETAIL.dump_python(detail, mode="json"))
        if idempotency_key is not None:
            api_repository.store_answer(connection, caller.key_id, idempotency_key, answer)
        return answer


def _expected_version(wanted: AlertChangeIn, if_match: str | None) -> int:
    if if_match is None and wanted.version is None:
        raise ProblemError(
            428, "version-required", "Say which version the change was made from: as `version`, or as If-Match."
        )
    if if_match is None:
        assert wanted.version is not None  # noqa: S101 - one of the two is there
        return wanted.version
    number = if_match.removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdecimal() and 1 <= int(number[:20]) < 2**31):
        raise ProblemError(
            412, "stale-version", 'If-Match has to be the ETag of the alert, such as "3": read it again.'
        )
    if wanted.version not in {None, int(number)}:
        raise ProblemError(422, "invalid-request", "If-Match and `version` differ: give one of them.")
    return int(number)


def _digest(request: Request, if_match: str | None, body: bytes) -> str:
    parts = (request.method, request.url.path, if_match or "")
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + body).hexdigest()


def _etag(version: int) -> str:
    return f'"{version}"'


def _unknown(alert_id: int) -> ProblemError:
    return ProblemError(404, "not-found", f"There is no alert {alert_id}.")
