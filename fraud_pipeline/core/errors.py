"""Errors that a user can act on: each message says what is wrong, where, and what to do."""


class FraudPipelineError(Exception):
    """Base of every error that the pipeline raises on purpose."""


class ConfigurationError(FraudPipelineError):
    """A setting, a source description or a command argument cannot be used."""


class InputFileError(FraudPipelineError):
    """A landing file is missing, unreadable or has the wrong columns: the batch is refused whole."""


class InvalidDataError(FraudPipelineError):
    """A frame breaks an invariant of its stage; nothing was written."""


class NotFoundError(InvalidDataError):
    """There is no alert or case with this number."""


class ConflictError(InvalidDataError):
    """Somebody else changed the alert or case since it was read; nothing was written.

    Parameters
    ----------
    message : str
        What to tell the user.
    current_version : int
        The version that it has now.
    """

    def __init__(self, message: str, current_version: int) -> None:
        super().__init__(message)
        self.current_version = current_version


class InvalidMoveError(InvalidDataError):
    """The workflow does not allow the change; nothing was written.

    Parameters
    ----------
    message : str
        What to tell the user.
    allowed : tuple of str
        The states that may follow the present one.
    """

    def __init__(self, message: str, allowed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allowed = allowed


class MissingPartitionError(FraudPipelineError):
    """A day that a computation needs has not been materialised."""


class TrainingError(FraudPipelineError):
    """A model or threshold cannot be fitted on the data at hand."""


class ModelArtefactError(FraudPipelineError):
    """A stored model is missing, altered or not of a trusted type."""


class DatabaseError(FraudPipelineError):
    """PostgreSQL cannot be reached or its schema is not the one that this code needs."""
