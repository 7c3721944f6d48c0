"""Errors that a user can act on: each message says what is wrong, where, and what to do."""


class FraudPipelineError(Exception):
    """Base of every error that the pipeline raises on purpose."""


class ConfigurationError(FraudPipelineError):
    """A setting, a source description or a command argument cannot be used."""


class InputFileError(FraudPipelineError):
    """A landing file is missing, unreadable or has the wrong columns: the batch is refused whole."""


class InvalidDataError(FraudPipelineError):
    """A frame breaks an invariant of its stage; nothing was written."""


class MissingPartitionError(FraudPipelineError):
    """A day that a computation needs has not been materialised."""


class TrainingError(FraudPipelineError):
    """A model or threshold cannot be fitted on the data at hand."""


class ModelArtefactError(FraudPipelineError):
    """A stored model is missing, altered or not of a trusted type."""


class DatabaseError(FraudPipelineError):
    """PostgreSQL cannot be reached or its schema is not the one that this code needs."""
