import errno
import sys
from http.client import RemoteDisconnected
from urllib.error import URLError

import psycopg
import pytest

from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.faults import is_transient
from fraud_pipeline.core.errors import ConfigurationError, DatabaseError, InvalidDataError, ModelArtefactError


def caused(error: Exception, cause: BaseException) -> Exception:
    """The error as it is when it was raised from a cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "cause",
    [
        psycopg.OperationalError("server closed the connection"),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.TooManyConnections(),
        psycopg.errors.DeadlockDetected(),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        TimeoutError(),
        OSError(errno.EBUSY, "SlowDown"),
        OSError(errno.EREMOTEIO, "InternalError"),
        URLError("no answer"),
        RemoteDisconnected("closed"),
    ],
)
def test_a_fault_of_a_connection_may_pass(cause: Exception) -> None:
    assert is_transient(caused(DatabaseError("it cannot be reached"), cause))


@pytest.mark.parametrize(
    "error",
    [
        InvalidDataError("a frame is broken"),
        DatabaseError("the schema is old"),
        caused(DatabaseError("full"), psycopg.errors.DiskFull()),
        caused(InvalidDataError("refused"), psycopg.errors.UniqueViolation()),
        caused(ConfigurationError("full"), OSError(errno.ENOSPC, "no space")),
        caused(ConfigurationError("denied"), PermissionError("access denied")),
        caused(ModelArtefactError("gone"), FileNotFoundError("no such key")),
        ValueError("a fault of the program"),
    ],
)
def test_what_is_wrong_with_data_rights_or_disks_stays_wrong(error: Exception) -> None:
    assert not is_transient(error)


def test_an_object_store_that_does_not_answer_may_come_back() -> None:
    from botocore.exceptions import EndpointConnectionError

    assert "botocore.exceptions" in sys.modules
    assert is_transient(caused(ConfigurationError("unreachable"), EndpointConnectionError(endpoint_url="http://s3")))


def test_a_real_server_that_is_away_may_come_back() -> None:
    with pytest.raises(DatabaseError) as error, Database("postgresql://nobody@127.0.0.1:1/none").begin():
        pass
    assert is_transient(error.value)
