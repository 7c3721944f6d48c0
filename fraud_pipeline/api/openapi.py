"""The OpenAPI document, with what FastAPI cannot know."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from fraud_pipeline.api.alert_models import AlertChangeIn
from fraud_pipeline.api.detect_routes import BatchIn
from fraud_pipeline.api.models import TransactionIn
from fraud_pipeline.api.problems import Problem
from fraud_pipeline.settings import Settings

_REFERENCE: Final = "#/components/schemas/{model}"
_BODIES: Final = (TransactionIn, BatchIn, AlertChangeIn)
_KEY_SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key that `fraud-pipeline api-key create` printed. Each path names the scope that it needs.",
}
_REQUEST_ID: Final = {
    "description": "Id of the request: that of the header X-Request-ID, or a new one.",
    "schema": {"type": "string"},
}


def describe(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """Write the OpenAPI document of an application with the limits of its settings."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REFERENCE)
    _, problem = models_json_schema([(Problem, "serialization")], ref_template=_REFERENCE)
    schemas |= bodies["$defs"] | problem["$defs"]
    schemas["TransactionIn"]["properties"]["amount"] |= {
        "minimum": -settings.max_amount,
        "maximum": settings.max_amount,
    }
    schemas["BatchIn"]["properties"]["transactions"]["maxItems"] = settings.api_max_batch
    components["securitySchemes"] = {"api_key": _KEY_SCHEME}
    for path in document["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                answer.setdefault("headers", {}).setdefault("X-Request-ID", _REQUEST_ID)
    return document
