"""Estimators as bytes in the skops format: nothing is unpickled and only reviewed types are ever built."""

import struct
import zipfile
import zlib

from fraud_pipeline.core.errors import ModelArtefactError

_TRUSTED_TYPES = (
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)
"""What ``IsolationForest`` and ``LocalOutlierFactor`` hold beyond the types that skops trusts by itself.

Written down here because the list that comes with an artefact is its author's, not ours. scikit-learn does not check
the node indices inside these types, so they are safe only in bytes whose digest has been compared first
(see `ModelRegistry.read`).
"""

_MALFORMED_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,  # cut short
    OSError,  # numpy on a garbled array file
    RuntimeError,  # encrypted, an unknown compression, or nested without end
    ValueError,  # not JSON, not numbers, unknown protocol
    TypeError,  # no such loader, wrong argument
    LookupError,  # a member or a key of the schema is missing
    AttributeError,
    ImportError,  # a trusted name that this version of the library does not have
)
"""What zipfile, json, numpy and skops raise on bytes that are cut, garbled or not an archive at all."""


def dump_estimator(estimator: object) -> bytes:
    """Write an estimator in the skops format.

    Parameters
    ----------
    estimator : object
        A fitted scikit-learn estimator, such as ``IsolationForest`` or ``LocalOutlierFactor``.

    Returns
    -------
    bytes
        A compressed skops archive that `load_estimator` reads back.

    Raises
    ------
    ModelArtefactError
        If the estimator cannot be written, or holds a type that `load_estimator` would refuse: training fails, not
        the night that scores with the model.
    """
    from skops.io import dumps

    try:
        # Level 1 makes a forest five times smaller; higher levels gain little.
        payload: bytes = dumps(estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    except TypeError as error:
        msg = f"{type(estimator).__qualname__} cannot be stored as a model artefact: {error}"
        raise ModelArtefactError(msg) from error
    if untrusted := _untrusted_types(payload):
        raise ModelArtefactError(_untrusted(untrusted))
    return payload


def load_estimator(payload: bytes) -> object:
    """Read an estimator that `dump_estimator` wrote.

    Parameters
    ----------
    payload : bytes
        A skops archive whose digest has been checked.

    Returns
    -------
    object
        The estimator.

    Raises
    ------
    ModelArtefactError
        If the bytes are not a whole skops archive or name a type that is not trusted. Every type is audited before
        the first object is built, so a refused artefact runs no code.
    """
    from skops.io import loads
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        estimator: object = loads(payload, trusted=list(_TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise ModelArtefactError(_untrusted(_untrusted_types(payload))) from error
    except _MALFORMED_ARCHIVE as error:
        raise ModelArtefactError(_unreadable(error)) from error
    return estimator


def _untrusted_types(payload: bytes) -> list[str]:
    """Types that the archive names and neither skops nor this module trusts."""
    from skops.io import get_untrusted_types

    return sorted(set(get_untrusted_types(data=payload)) - set(_TRUSTED_TYPES))


def _untrusted(types: list[str]) -> str:
    return (
        f"The model artefact contains types that are not trusted: {', '.join(types)}. "
        "It was not loaded; train and register the model again with the detectors of this package."
    )


def _unreadable(error: Exception) -> str:
    return (
        f"The model artefact is not a readable skops archive ({type(error).__name__}: {error}). "
        "It was not loaded; restore the file or train and register the model again."
    )
