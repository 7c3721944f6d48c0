"""The OpenAPI document, and whether the API keeps to it whatever it is sent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fraud_pipeline.adapters.database import api_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.api.app import create_app
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import Serve, small_settings, wait_for_model
from fraud_pipeline_tests.api.raised import raise_alerts

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
ANSWERS = {
    "/": {"200", "500"},
    "/health": {"200", "500", "503"},
    "/detect": {"200", "401", "403", "413", "415", "422", "429", "500", "503"},
    "/alerts": {"200", "401", "403", "422", "429", "500", "503"},
}


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    return create_app(small_settings(Path("/nowhere"), "postgresql://nobody@localhost/none")).openapi()


def test_every_answer_is_described(document: dict[str, dict[str, dict[str, dict[str, object]]]]) -> None:
    for path, expected in ANSWERS.items():
        [operation] = document["paths"][path].values()
        assert set(operation["responses"]) == expected  # type: ignore[call-overload]  # nested JSON
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            for status, answer in operation["responses"].items():  # type: ignore[attr-defined]  # nested JSON
                if int(status) >= 400 and "Health" not in str(answer):
                    assert list(answer["content"]) == ["application/problem+json"]


def test_limits_of_the_settings_are_in_the_document(
    document: dict[str, dict[str, dict[str, dict[str, object]]]],
) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["TransactionIn"]["properties"]["amount"]["maximum"] == 1_000_000  # type: ignore[index]
    assert schemas["BatchIn"]["properties"]["transactions"]["maxItems"] == 10_000  # type: ignore[index]


@pytest.mark.e2e
def test_nothing_that_can_be_sent_breaks_the_api_or_its_document(
    trained_settings: Settings, serve: Serve, database_of: Callable[[Settings], Database]
) -> None:
    database = database_of(trained_settings)
    raise_alerts(database, *(f"s{number}" for number in range(20)))
    key, _ = api_repository.create_key(database, "fuzz", ["detect", "alerts:read", "alerts:write"])
    client: httpx.Client = serve(trained_settings, key)
    wait_for_model(client)
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    sent = 0
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # else the test is to fail

        @bounds(
            max_examples=60,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
        def send(case: "schemathesis.Case[Any]") -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=CHECKS)

        send()
    assert sent > 200
