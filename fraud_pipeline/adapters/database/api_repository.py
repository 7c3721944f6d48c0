"""Keys of API clients, of which only digests are stored, and answers kept for repeated requests."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    Text,
    column,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    table,
    text,
    update,
)

from fraud_pipeline.adapters.database.api_tables import SCOPES, api_keys, idempotency_keys
from fraud_pipeline.adapters.database.engine import SCHEMA_VERSION_TABLE, Database, lock_number
from fraud_pipeline.core.errors import ConfigurationError, NotFoundError

KEY_PREFIX: Final = "fp"
"""Begins every key, so that scanners for leaked secrets can find one."""
_SECRET_BYTES: Final = 32
_MAX_NAME_LENGTH: Final = 100
_KEPT: Final = text("interval '24 hours'")
_REVISION: Final = select(column("version_num", Text)).select_from(table(SCHEMA_VERSION_TABLE))


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored: without the secret."""

    key_id: str
    name: str
    key_sha256: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_in_force(self, now: datetime) -> bool:
        """Whether the key may be used at a time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class StoredAnswer:
    """What a request was answered with."""

    request_sha256: str
    status_code: int
    body: dict[str, Any]


def create_key(
    database: Database, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[str, ApiKey]:
    """Make a key; the text is returned this one time and can never be read again.

    Parameters
    ----------
    database : Database
        With the current schema, as its owner.
    name : str
        Who holds the key; the actor of what is changed with it.
    scopes : sequence of str
        From ``SCOPES``.
    expires_at : datetime, optional
        From when on it is refused.

    Returns
    -------
    str, ApiKey
        The key to give to its holder, and what is stored of it.

    Raises
    ------
    ConfigurationError
        The name is empty or too long, or a scope is not known.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    name = name.strip()
    if not name or len(name) > _MAX_NAME_LENGTH or not name.isprintable():
        raise ConfigurationError(f"A key needs a name of 1 to {_MAX_NAME_LENGTH} printable characters: give one.")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        wrong = f"{', '.join(unknown)} is no scope" if unknown else "A key needs at least one scope"
        raise ConfigurationError(f"{wrong}: choose from {', '.join(SCOPES)}.")
    key_id = secrets.token_hex(4)
    key = f"{KEY_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    row = {
        "key_id": key_id,
        "name": name,
        "key_sha256": digest(key),
        "scopes": [scope for scope in SCOPES if scope in scopes],
        "expires_at": expires_at,
    }
    with database.begin() as connection:
        stored = connection.execute(insert(api_keys).values(row).returning(api_keys)).one()
    return key, _api_key(stored)


def list_keys(database: Database) -> list[ApiKey]:
    """List all keys, the revoked and expired ones too, oldest first.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    with database.begin() as connection:
        rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id))
        return [_api_key(row) for row in rows]


def revoke_key(database: Database, key_id: str) -> ApiKey:
    """Revoke a key; one that is revoked already stays as it is.

    Raises
    ------
    NotFoundError
        There is no such key.
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    revoked_at = func.coalesce(api_keys.c.revoked_at, func.now())
    statement = update(api_keys).where(api_keys.c.key_id == key_id).values(revoked_at=revoked_at).returning(api_keys)
    with database.begin() as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no key {key_id!r}; `fraud-pipeline api-key list` lists them.")
    return _api_key(row)


def digest(key: str) -> str:
    """SHA-256 of a key; a plain one is enough, since keys are random and long."""
    return hashlib.sha256(key.encode()).hexdigest()


def claim_idempotency_key(connection: Connection, client: str, idempotency_key: str) -> bool:
    """Claim a client's idempotency key until the transaction ends; False if another one has it now."""
    number = lock_number("idempotency key", client, idempotency_key)
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(number))).scalar_one())


def stored_answer(connection: Connection, client: str, idempotency_key: str) -> StoredAnswer | None:
    """Read what a request with this key was answered with within the last day, if it was."""
    kept = idempotency_keys.c
    statement = select(kept.request_sha256, kept.status_code, kept.body).where(
        kept.key_id == client, kept.idempotency_key == idempotency_key
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else StoredAnswer(*row)


def store_answer(connection: Connection, client: str, idempotency_key: str, answer: StoredAnswer) -> None:
    """Keep an answer, and forget some of those that are older than a day."""
    kept = idempotency_keys.c
    # What another request is forgetting at this moment is left to it.
    old = (
        select(kept.key_id, kept.idempotency_key)
        .where(kept.created_at < func.now() - _KEPT)
        .order_by(kept.created_at)
        .limit(100)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    connection.execute(
        delete(idempotency_keys).where(kept.key_id == old.c.key_id, kept.idempotency_key == old.c.idempotency_key)
    )
    connection.execute(
        insert(idempotency_keys).values(
            key_id=client,
            idempotency_key=idempotency_key,
            request_sha256=answer.request_sha256,
            status_code=answer.status_code,
            body=answer.body,
        )
    )


def schema_revision(connection: Connection) -> str:
    """Revision of the schema that the database has."""
    return str(connection.execute(_REVISION).scalar_one())


def has_key_in_force(database: Database) -> bool:
    """Whether any key may be used now.

    Raises
    ------
    DatabaseError
        PostgreSQL cannot be reached or fails.
    """
    keys = api_keys.c
    in_force = (keys.revoked_at.is_(None), or_(keys.expires_at.is_(None), keys.expires_at > func.now()))
    with database.begin() as connection:
        return connection.execute(select(literal(1)).where(*in_force).limit(1)).first() is not None


def _api_key(row: Row[Any]) -> ApiKey:
    stored = dict(row._mapping)
    return ApiKey(**stored | {"scopes": tuple(stored["scopes"])})
