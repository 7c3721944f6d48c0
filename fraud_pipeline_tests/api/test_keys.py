"""Who may call: keys, scopes, rates, and the address that is served."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from fraud_pipeline.adapters.clock import utc_now
from fraud_pipeline.adapters.database import api_repository
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.api import security
from fraud_pipeline.api.problems import ProblemError
from fraud_pipeline.api.security import RateLimit, is_loopback, require_key
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError, NotFoundError
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import Serve

DatabaseOf = Callable[[Settings], Database]
REQUESTS = {
    ("POST", "/detect"): "detect",
    ("POST", "/detect/batch"): "detect",
    ("GET", "/alerts"): "alerts:read",
    ("GET", "/alerts/statistics"): "alerts:read",
    ("GET", "/alerts/1"): "alerts:read",
    ("PUT", "/alerts/1"): "alerts:write",
}
ANY_KEY = [("GET", "/models/info"), ("GET", "/metrics")]
NO_KEY = [("GET", "/"), ("GET", "/health"), ("GET", "/openapi.json")]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_path_needs_its_scope_and_names_it(settings: Settings, serve: Serve, database_of: DatabaseOf) -> None:
    database = database_of(settings)
    keys = {scope: api_repository.create_key(database, scope, [scope])[0] for scope in set(REQUESTS.values())}
    client = serve(settings)
    for (method, path), needed in REQUESTS.items():
        for scope, key in keys.items():
            answer = client.request(method, path, headers=bearer(key))
            if scope == needed:
                assert answer.status_code not in {401, 403}, (method, path, scope)
            else:
                assert (answer.status_code, answer.json()["missing_scope"]) == (403, needed)
                assert needed in answer.headers["www-authenticate"]
    for method, path in [*REQUESTS, *ANY_KEY]:
        answer = client.request(method, path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="fraud_pipeline"'
    for method, path in ANY_KEY:
        assert client.request(method, path, headers=bearer(keys["detect"])).status_code in {200, 503}
    for method, path in NO_KEY:
        assert client.request(method, path).status_code in {200, 503}


def test_keys_that_are_not_in_force_are_refused(settings: Settings, serve: Serve, database_of: DatabaseOf) -> None:
    database = database_of(settings)
    good, stored = api_repository.create_key(database, "ada", ["alerts:read"], utc_now() + timedelta(days=1))
    revoked, gone = api_repository.create_key(database, "bob", ["alerts:read"])
    api_repository.revoke_key(database, gone.key_id)
    expired, old = api_repository.create_key(database, "eve", ["alerts:read"])
    with database.begin() as connection:
        times = "created_at = now() - interval '2 days', expires_at = now() - interval '1 day'"
        connection.execute(text(f"UPDATE api_keys SET {times} WHERE key_id = :key"), {"key": old.key_id})  # noqa: S608
    client = serve(settings)
    assert client.get("/alerts", headers=bearer(good)).status_code == 200
    assert client.get("/alerts", headers={"Authorization": f"bearer  {good}"}).status_code == 200
    wrong = [revoked, expired, good[:-1], good + "x", f"fp_{stored.key_id}_", "fp__", stored.key_sha256, "é"]
    for key in wrong:
        answer = client.get("/alerts", headers={b"Authorization": f"Bearer {key}".encode("latin-1")})
        assert answer.status_code == 401, key
    assert client.get("/alerts", headers={"Authorization": f"Basic {good}"}).status_code == 401


def test_loopback_is_open_until_the_first_key_and_closed_for_ever_after(
    settings: Settings, serve: Serve, database_of: DatabaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "FRESH_SECONDS", -1.0)
    client = serve(settings)
    assert client.get("/alerts").status_code == 200
    database = database_of(settings)
    key, stored = api_repository.create_key(database, "ada", ["alerts:read"])
    assert client.get("/alerts").status_code == 401
    assert client.get("/alerts", headers=bearer(key)).status_code == 200
    api_repository.revoke_key(database, stored.key_id)
    assert client.get("/alerts", headers=bearer(key)).status_code == 401
    assert client.get("/alerts").status_code == 401


def test_network_address_is_not_served_without_a_key(settings: Settings, database_of: DatabaseOf) -> None:
    database = database_of(settings)
    require_key("127.0.0.1", database)
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0 without any key.*api-key create"):
        require_key("0.0.0.0", database)  # noqa: S104 - that is the point
    _, stored = api_repository.create_key(database, "ada", ["detect"])
    require_key("0.0.0.0", database)  # noqa: S104 - that is the point
    api_repository.revoke_key(database, stored.key_id)
    with pytest.raises(ConfigurationError):
        require_key("::", database)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "")],  # noqa: S104 - to be refused
)
def test_loopback_addresses_are_told_from_others(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_stored_key_is_a_digest_of_a_long_random_one(database: Database) -> None:
    keys = {api_repository.create_key(database, "ada", ["detect"])[0] for _ in range(20)}
    assert len(keys) == 20
    assert all(key.startswith("fp_") and len(key) > 50 for key in keys)
    with database.begin() as connection:
        rows = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert not any(key.split("_", 2)[2] in rows for key in keys)


@pytest.mark.parametrize(("name", "scopes"), [("", ["detect"]), ("a\nb", ["detect"]), ("ada", []), ("ada", ["root"])])
def test_key_needs_a_name_and_known_scopes(database: Database, name: str, scopes: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"needs|no scope"):
        api_repository.create_key(database, name, scopes)


def test_expiry_in_the_past_and_unknown_keys_are_refused(database: Database) -> None:
    with pytest.raises(InvalidDataError, match="ck_api_keys_expires_at"):
        api_repository.create_key(database, "ada", ["detect"], utc_now() - timedelta(days=1))
    with pytest.raises(NotFoundError, match="api-key list"):
        api_repository.revoke_key(database, "nobody")


def test_rate_limit_is_for_each_key_and_says_when_to_come_back(
    settings: Settings, serve: Serve, database_of: DatabaseOf
) -> None:
    database = database_of(settings)
    ada, bob = (api_repository.create_key(database, name, ["alerts:read"])[0] for name in ("ada", "bob"))
    client = serve(settings.model_copy(update={"api_rate_limit": "3/hour"}))
    statuses = [client.get("/alerts", headers=bearer(ada)).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = client.get("/alerts", headers=bearer(ada))
    assert 0 < int(refused.headers["retry-after"]) <= 3601
    assert client.get("/alerts", headers=bearer(bob)).status_code == 200
    assert client.get("/health").status_code == 503


def test_rate_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigurationError, match="FRAUD_PIPELINE_API_RATE_LIMIT: 'often'"):
        RateLimit("often")


@given(st.text(max_size=80))
def test_no_text_is_a_key(presented: str) -> None:
    ring = security.KeyRing(Database("postgresql://nobody@localhost/none"), is_open=False)
    with pytest.raises(ProblemError) as failure:
        ring._find(presented)
    assert failure.value.status_code == 401
