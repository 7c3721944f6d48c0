"""Scoring on request: one transaction or a batch."""

from collections import Counter
from typing import Any, Final

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.responses import Response

from fraud_pipeline.api.bodies import read_json
from fraud_pipeline.api.models import Detection, TransactionIn
from fraud_pipeline.api.problems import ProblemError, documented, no_model
from fraud_pipeline.api.security import authenticate


class BatchIn(BaseModel):
    """Transactions to score together; the result of each depends on its own card holder and merchant alone."""

    model_config = ConfigDict(extra="forbid")

    transactions: list[TransactionIn] = Field(min_length=1, description="Each transaction_id once, in any order.")
    reasons: bool = Field(True, description="Whether alerts get reasons, which take longer than their scores.")


class BatchOut(BaseModel):
    """Scores of a batch."""

    detections: list[Detection] = Field(description="In the order of the request.")


_TRANSACTION: Final = TypeAdapter(TransactionIn)
_DETECTION: Final = TypeAdapter(Detection)
_BATCH: Final = TypeAdapter(BatchIn)
_DETECTIONS: Final = TypeAdapter(list[Detection])
_ERRORS: Final = documented(401, 403, 413, 415, 422, 429, 500, 503)
_SECURITY: Final[list[dict[str, list[str]]]] = [{"api_key": ["detect"]}]

router = APIRouter(tags=["detection"])


def _body(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "security": _SECURITY,
    }


@router.post(
    "/detect",
    summary="Score a transaction",
    response_model=Detection,
    responses=_ERRORS,
    openapi_extra=_body(TransactionIn),
)
async def detect(request: Request) -> Response:
    """Give the score that the nightly run would give this transaction.

    The same features, model and threshold; profile and recent history are those of the database. Nothing is
    stored, and no alert is raised.
    """
    await authenticate(request, "detect")
    transaction, _ = await read_json(request, _TRANSACTION)
    [detection] = await _detect(request, [transaction], ["body"])
    return Response(_DETECTION.dump_json(detection), media_type="application/json")


@router.post(
    "/detect/batch",
    summary="Score many transactions",
    response_model=BatchOut,
    responses=_ERRORS,
    openapi_extra=_body(BatchIn),
)
async def detect_batch(request: Request) -> Response:
    """Score transactions as if they were the rest of their days: an earlier one counts for those after it.

    All of them, or none if one cannot be used. Nothing is stored, and no alert is raised.
    """
    await authenticate(request, "detect")
    batch, _ = await read_json(request, _BATCH)
    transactions = batch.transactions
    most = request.app.state.settings.api_max_batch
    if len(transactions) > most:
        raise ProblemError(
            422, "batch-too-large", f"The batch has {len(transactions):,} transactions: send at most {most:,} at once."
        )
    _require_distinct(transactions)
    detections = await _detect(request, transactions, ["body", "transactions"], explain=batch.reasons)
    listed = await run_sync(_DETECTIONS.dump_json, detections)
    return Response(b'{"detections":' + listed + b"}", media_type="application/json")


async def _detect(
    request: Request, transactions: list[TransactionIn], where: list[str], *, explain: bool = True
) -> list[Detection]:
    state = request.app.state
    _require_plausible(transactions, state.settings.max_amount, where)
    if not state.detection.ready():
        raise no_model()
    detections: list[Detection] = await state.detection.detect_async(transactions, explain=explain)
    state.metrics.count_detections(Counter(each.risk_level for each in detections))
    return detections


def _require_plausible(transactions: list[TransactionIn], most: float, where: list[str]) -> None:
    for position, transaction in enumerate(transactions):
        if abs(transaction.amount) > most:
            place = [*where, *([str(position)] if len(where) > 1 else []), "amount"]
            raise ProblemError(
                422,
                "invalid-request",
                f"{'.'.join(place)}: the amount is beyond {most:,.15g}, the largest that is plausible here.",
                errors=[{"location": place, "message": "beyond the largest plausible amount"}],
            )


def _require_distinct(transactions: list[TransactionIn]) -> None:
    if len({each.transaction_id for each in transactions}) == len(transactions):
        return
    first: dict[str, int] = {}
    for position, each in enumerate(transactions):
        if (earlier := first.setdefault(each.transaction_id, position)) != position:
            raise ProblemError(
                422,
                "duplicate-transaction",
                f"body.transactions.{position}: the transaction_id is that of transaction {earlier} too; "
                "send each once.",
            )
