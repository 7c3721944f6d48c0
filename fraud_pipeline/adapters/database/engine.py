"""One PostgreSQL database: connections, transactions, and the version of its schema."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError

from fraud_pipeline.adapters.database.sessions import GRACE_SECONDS, Patience, Session
from fraud_pipeline.core.errors import ConfigurationError, DatabaseError, FraudPipelineError, InvalidDataError

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA_VERSION_TABLE: Final = "fraud_pipeline_schema_version"
"""Not Alembic's usual name: Dagster and MLflow use that one and may share the database."""

# Classes of SQLSTATE that say "no usable connection": connection exception, unknown database,
# invalid authorisation, operator intervention. Errors while connecting carry none.
_CONNECTION_STATES: Final = ("08", "3D", "28", "57P")


class Database:
    """A PostgreSQL database; connects at first use, not before.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:5432/database``, with or without ``+psycopg``.
    role : str, optional
        Role that every connection takes on (``SET ROLE``), so that it may do no more than that role; the rights of
        the login by default, which migrations need.
    pool_size : int
        Connections that stay open; small, because every run is a process with a pool of its own.
    patience : Patience, optional
        How long to wait; for an answer as long as it takes by default, since runs have long statements.

    Raises
    ------
    ConfigurationError
        The text is not the URL of a PostgreSQL database.
    """

    def __init__(self, url: str, role: str | None = None, pool_size: int = 2, patience: Patience | None = None) -> None:
        self._url = _postgresql_url(url)
        self._role = role
        self._pool_size = pool_size
        self._patience = patience or Patience()

    def __repr__(self) -> str:
        return f"Database({self.location})"

    @property
    def location(self) -> str:
        """Host, port and name of the database: what may be shown, without user or password."""
        host = self._url.host or self._url.query.get("host") or "localhost"
        port = self._url.port or self._url.query.get("port") or 5432
        return f"{host}:{port}/{self._url.database or ''}"

    @cached_property
    def engine(self) -> Engine:
        """The connection pool."""
        engine = create_engine(
            self._url,
            pool_size=self._pool_size,
            max_overflow=8,
            pool_pre_ping=True,
            connect_args={
                name: value for name, value in self._patience.connect_arguments.items() if name not in self._url.query
            },
        )
        event.listen(engine, "do_connect", self._connect)
        return engine

    @contextmanager
    def begin(self, actor: str | None = None, run_id: str | None = None) -> Iterator[Connection]:
        """Open a transaction: committed at the end of the block, rolled back whole on any error.

        Parameters
        ----------
        actor : str, optional
            Who changes alerts or cases in it; the audit refuses a change without one. A run is ``pipeline``.
        run_id : str, optional
            Run that changes them.

        Yields
        ------
        Connection
            A SQLAlchemy connection inside the transaction.

        Raises
        ------
        DatabaseError
            PostgreSQL cannot be reached, fails at its work, lacks a table or column, or denies the access.
        InvalidDataError
            PostgreSQL refuses a value or a row; nothing was written.
        """
        try:
            with self.engine.begin() as connection:
                say_until_commit(connection, actor=actor, run_id=run_id)
                yield connection
        except DBAPIError as error:
            raise self._explain(error.orig) or error from error
        except psycopg.Error as error:
            raise self._explain(error) or error from error

    def libpq_address(self) -> tuple[str, str | None]:
        """Give the URL as PostgreSQL's own programs take it, without the password, and the password."""
        url = self._url._replace(drivername="postgresql", password=None)
        return url.render_as_string(hide_password=False), self._url.password

    def upgrade(self) -> None:
        """Bring the schema to the newest revision, in one transaction; processes take turns.

        Raises
        ------
        DatabaseError
            The database cannot be reached or belongs to a newer version of the program.
        """
        from alembic import command

        with self.begin() as connection:
            lock_until_commit(connection, "schema upgrade")
            config = migration_config(connection)
            self._require_known_revision(connection, config)
            command.upgrade(config, "head")

    def require_current_schema(self) -> None:
        """Check that the schema is the one that this code needs.

        Raises
        ------
        DatabaseError
            The schema is missing, older or newer, or the database cannot be reached.
        """
        from alembic.script import ScriptDirectory

        with self.begin() as connection:
            config = migration_config(connection)
            current = self._require_known_revision(connection, config)
        needed = ScriptDirectory.from_config(config).get_current_head()
        if current != needed:
            raise DatabaseError(
                f"The schema of the database {self.location} is at revision {current or 'none'} "
                f"but revision {needed} is needed: run `fraud-pipeline migrate`."
            )

    def dispose(self) -> None:
        """Close the pooled connections; the next use opens new ones."""
        self.engine.dispose()

    def _connect(self, _dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Session:
        """Open a session with its role and its limits, which last as long as it lives."""
        session = Session.connect(*arguments, **options)
        try:
            if self._patience.statement is not None:
                session.answer_within = self._patience.statement + GRACE_SECONDS
            session.autocommit = True  # a rollback would undo what follows
            if self._role is not None:
                self._take_role(self._role, session)
            self._patience.impose(session)
            session.autocommit = False
        except BaseException:
            session.close()
            raise
        return session

    def _take_role(self, name: str, session: Session) -> None:
        role = sql.Identifier(name)
        try:
            session.execute(sql.SQL("SET ROLE {}").format(role))
        except psycopg.errors.InvalidParameterValue:
            raise DatabaseError(
                f"The database {self.location} has no role {name}: run `fraud-pipeline migrate`."
            ) from None
        except psycopg.errors.InsufficientPrivilege:
            grant = sql.SQL("GRANT {} TO {}").format(role, sql.Identifier(session.info.user)).as_string(session)
            raise DatabaseError(
                f"The login {session.info.user} of the database {self.location} may not act as the role {name}: "
                f"run `{grant}` there as an administrator."
            ) from None

    def _require_known_revision(self, connection: Connection, config: "Config") -> str | None:
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        context = MigrationContext.configure(connection, opts={"version_table": SCHEMA_VERSION_TABLE})
        current = context.get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            raise DatabaseError(
                f"The schema of the database {self.location} is at revision {current}, which this version of "
                "fraud-pipeline does not know: upgrade the program."
            )
        return current

    def _explain(self, error: BaseException | None) -> FraudPipelineError | None:
        """Put an error in the words of the pipeline; None for what is a fault of the program."""
        if not isinstance(error, psycopg.Error):
            return None
        primary = error.diag.message_primary or str(error).strip().partition("\n")[0]
        reason = ". ".join(filter(None, (primary, error.diag.message_detail, error.diag.context))).rstrip(".")
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            return DatabaseError(
                f"The schema of the database {self.location} is not the one that is needed ({primary}): "
                "run `fraud-pipeline migrate`."
            )
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            login = self._role or self._url.username or "the login"
            return DatabaseError(f"The database {self.location} denies {login} the access: {reason}.")
        if isinstance(error, psycopg.IntegrityError | psycopg.DataError):
            return InvalidDataError(f"The database {self.location} refused a row, so nothing was written: {reason}.")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            if error.sqlstate is None or error.sqlstate.startswith(_CONNECTION_STATES):
                return DatabaseError(
                    f"The database {self.location} cannot be reached ({primary}): "
                    "check that PostgreSQL runs and FRAUD_PIPELINE_DATABASE_URL is right."
                )
            return DatabaseError(f"The database {self.location} could not do its work: {reason}.")
        return None


def migration_config(connection: Connection) -> "Config":
    """Alembic's configuration for the migrations of this package, bound to a connection.

    Parameters
    ----------
    connection : Connection
        The migrations run inside its transaction.

    Returns
    -------
    Config
        For the functions of ``alembic.command``.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "fraud_pipeline.adapters.database:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def say_until_commit(connection: Connection, **said: str | None) -> None:
    """Tell the triggers of the database something about this transaction, as settings ``fraud_pipeline.<name>``.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    **said : str or None
        ``actor``, ``run_id``, ``now``; what is None is left as it is.
    """
    for name, value in said.items():
        if value is not None:
            connection.execute(select(func.set_config(f"fraud_pipeline.{name}", value, True)))


def lock_until_commit(connection: Connection, *subject: object) -> None:
    """Wait until no other transaction holds the lock on a subject, and hold it until this one ends.

    Parameters
    ----------
    connection : Connection
        Inside a transaction.
    *subject : object
        What is locked, such as a table and a day; its text counts.
    """
    connection.execute(select(func.pg_advisory_xact_lock(lock_number(*subject))))


def lock_number(*subject: object) -> int:
    """Give the number of the advisory lock on a subject; its text counts."""
    digest = hashlib.sha256("|".join(map(str, ("fraud_pipeline", *subject))).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def _postgresql_url(text: str) -> URL:
    try:
        url = make_url(text)
        psycopg.conninfo.make_conninfo("", **dict.fromkeys(url.query, ""))
    except (ArgumentError, ValueError, psycopg.ProgrammingError):
        url = None  # no URL at all, a port that is no number, an option that PostgreSQL does not know
    if url is None or url.drivername not in {"postgresql", "postgresql+psycopg", "postgres"}:
        # The text itself may hold a password, so it is not repeated.
        raise ConfigurationError(
            "FRAUD_PIPELINE_DATABASE_URL is not the URL of a PostgreSQL database: "
            "write it as postgresql+psycopg://user:password@host:5432/database."
        ) from None
    return url.set(drivername="postgresql+psycopg")
