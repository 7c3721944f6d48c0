"""What the API says of itself: what it is, whether it is fit, its model, its figures."""

from datetime import date
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fraud_pipeline.api import health as fitness
from fraud_pipeline.api.health import DatabaseState
from fraud_pipeline.api.models import ModelInfo
from fraud_pipeline.api.problems import RETRY_SECONDS, documented, no_model
from fraud_pipeline.api.security import Caller, authenticate

VERSION: Final = version("fraud_pipeline")
_ANY_KEY: Final[dict[str, Any]] = {"security": [{"api_key": []}]}

router = APIRouter(tags=["status"])


class Root(BaseModel):
    """What this is, and where to go on."""

    name: str
    description: str
    version: str
    links: dict[str, str] = Field(description="Paths by what they are.")


class Check(BaseModel):
    """Whether a part is fit."""

    ok: bool
    detail: str | None = Field(description="What is wrong; null if nothing is.")


class SchemaCheck(Check):
    """The schema of the database."""

    revision: str | None


class ModelCheck(Check):
    """The model that scores requests."""

    version: str | None


class FreshnessCheck(Check):
    """How old the data are."""

    last_scored_day: date | None
    age_days: int | None


class Checks(BaseModel):
    """The parts that the API needs."""

    database: Check
    schema_: SchemaCheck = Field(alias="schema")
    model: ModelCheck
    freshness: FreshnessCheck


class Health(BaseModel):
    """Whether the API is fit to serve."""

    status: str = Field(pattern="^(ok|unfit)$")
    version: str
    checks: Checks


async def _anybody(request: Request) -> Caller:
    return await authenticate(request)


@router.get("/", summary="Say what this is", response_model=Root, responses=documented(500))
async def root() -> dict[str, Any]:
    """Name, version and the paths to go on with. No key is needed."""
    return {
        "name": "fraud_pipeline",
        "description": "Scores card transactions as the nightly run does, and serves its alerts to analysts.",
        "version": VERSION,
        "links": {
            "documentation": "/docs",
            "openapi": "/openapi.json",
            "health": "/health",
            "detect": "/detect",
            "alerts": "/alerts",
            "statistics": "/alerts/statistics",
            "model": "/models/info",
            "metrics": "/metrics",
        },
    }


@router.get(
    "/health",
    summary="Say whether this is fit to serve",
    response_model=Health,
    responses={**documented(500), 503: {"model": Health, "description": "Unfit; `checks` says why."}},
)
async def health(request: Request) -> Response:
    """Check database, schema, model and the age of the data, in at most two seconds. No key is needed."""
    state = request.app.state
    info: ModelInfo | None = state.detection.model_info()
    is_fit, checks = fitness.report(
        await state.watch.state(),
        needed_revision=state.needed_revision,
        model_version=None if info is None else info.model_version,
        time_zone=state.settings.time_zone,
        max_age_days=state.settings.api_max_age_days,
    )
    found = Health.model_validate({"status": "ok" if is_fit else "unfit", "version": VERSION, "checks": checks})
    headers = {"Cache-Control": "no-store"} | ({} if is_fit else {"Retry-After": str(RETRY_SECONDS)})
    return JSONResponse(found.model_dump(mode="json", by_alias=True), 200 if is_fit else 503, headers)


@router.get(
    "/models/info",
    summary="Describe the model",
    response_model=ModelInfo,
    responses=documented(401, 429, 500, 503),
    openapi_extra=_ANY_KEY,
)
async def models_info(request: Request, _caller: Annotated[Caller, Depends(_anybody)]) -> ModelInfo:
    """Describe the champion that scores requests: version, threshold, what to expect of it. Any key will do."""
    info: ModelInfo | None = request.app.state.detection.model_info()
    if info is None:
        raise no_model()
    return info


@router.get(
    "/metrics",
    summary="Give figures to Prometheus",
    response_class=PlainTextResponse,
    responses=documented(401, 429, 500, 503),
    openapi_extra=_ANY_KEY,
)
async def metrics(request: Request, _caller: Annotated[Caller, Depends(_anybody)]) -> Response:
    """Give requests and times by route, detections by risk level, model version, age of the data. Any key will do."""
    state = request.app.state
    info: ModelInfo | None = state.detection.model_info()
    database = await state.watch.state()
    day = database.last_scored_day if isinstance(database, DatabaseState) else None
    age = fitness.age_in_days(day, state.settings.time_zone)
    text = state.metrics.render(None if info is None else info.model_version, age)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
