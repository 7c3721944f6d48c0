"""Which failures may be gone in a moment: those of connections, not those of data or settings."""

import errno
import sys
from http.client import HTTPException
from typing import Final

import psycopg

_PASSING: Final = {
    errno.EAGAIN,
    errno.EBUSY,  # also what an object store's 503 becomes
    errno.EREMOTEIO,  # what its 500 becomes
    errno.ETIMEDOUT,
    errno.ECONNRESET,
    errno.ECONNREFUSED,
    errno.ECONNABORTED,
    errno.EPIPE,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
}
_FULL_DISK: Final = "53100"


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again in a moment may help, by the error or what caused it.

    Parameters
    ----------
    error : BaseException
        An error of the pipeline names as its cause what PostgreSQL, the object store or MLflow raised.
    """
    cause: BaseException | None = error
    while cause is not None:
        if _is_connection_fault(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _is_connection_fault(error: BaseException) -> bool:
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return error.sqlstate != _FULL_DISK
    if isinstance(error, OSError):
        # Without a number it is a client library's own, such as a request that got no answer.
        is_numbered = error.errno is not None or isinstance(error, FileNotFoundError | PermissionError)
        return error.errno in _PASSING if is_numbered else True
    # Who has not loaded the library has none of its errors.
    botocore = sys.modules.get("botocore.exceptions")
    return isinstance(error, HTTPException) or (
        botocore is not None and isinstance(error, botocore.HTTPClientError | botocore.ConnectionError)
    )
