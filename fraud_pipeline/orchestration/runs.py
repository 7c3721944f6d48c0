"""Runs in this process, recorded in the Dagster instance like any other."""

import logging
import re
import textwrap
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from sqlalchemy.exc import SQLAlchemyError

from fraud_pipeline.adapters import storage
from fraud_pipeline.core.errors import ConfigurationError, DatabaseError, FraudPipelineError, InvalidDataError
from fraud_pipeline.orchestration.checks import failed_check
from fraud_pipeline.settings import Settings

Progress = Callable[[str, int, int], None]
"""Called with the step that just finished, how many are done, and how many there are."""

_POLL_SECONDS = 0.3
# Who called sees the error; a daemon must not try again behind their back.
_NOT_RETRIED = {"dagster/max_retries": "0"}


def open_instance(settings: Settings, dagster_yaml: Path) -> dg.DagsterInstance:
    """Open the Dagster instance of the deployment, creating the embedded one on first use.

    Raises
    ------
    ConfigurationError
        If its folder, its ``dagster.yaml`` or what it recorded cannot be used.
    """
    home = settings.dagster_home
    if not (home / "dagster.yaml").exists():
        try:
            storage.publish(storage.open_root(str(home)) / "dagster.yaml", dagster_yaml.read_bytes())
        except ConfigurationError as error:
            raise ConfigurationError(f"{error} Or set FRAUD_PIPELINE_HOME to another folder.") from error
    try:
        return dg.DagsterInstance.from_config(str(home))
    except (dg.DagsterError, yaml.YAMLError, OSError, SQLAlchemyError) as error:
        raise ConfigurationError(
            f"the Dagster instance in {home} cannot be opened ({_in_short(error)}); "
            "correct its dagster.yaml, make the folder writable on a disk with space, or move it away to begin anew."
        ) from error


class Runner:
    """Executes jobs of the definitions, one run after another.

    Parameters
    ----------
    definitions : Definitions
    instance : DagsterInstance
    progress : callable, optional
        Told of every finished step.
    log_level : str
        From which level on runs write to standard error.
    """

    def __init__(
        self,
        definitions: dg.Definitions,
        instance: dg.DagsterInstance,
        progress: Progress | None = None,
        log_level: str = "CRITICAL",
    ) -> None:
        self._definitions = definitions
        self._instance = instance
        self._progress = progress
        self._logs = {"loggers": {"console": {"config": {"log_level": log_level}}}}
        # Before the first model there are no scores, so their checks have nothing to say: no reason to warn.
        logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)

    def run_day(self, job: str, day: date) -> str:
        """Run a daily job for one day; returns the run id."""
        return self._execute(job, partition_key=day.isoformat())

    def run_range(self, job: str, first: date, last: date) -> str:
        """Run a daily job for a range of days in one run; returns the run id."""
        if first == last:
            return self.run_day(job, first)
        tags = {
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        }
        return self._execute(job, tags=tags)

    def run_once(self, job: str, ops: Mapping[str, Any]) -> str:
        """Run a job without partitions, with configuration of its assets; returns the run id."""
        return self._execute(job, run_config={"ops": dict(ops)} if ops else {})

    def materialisation(self, asset: str) -> dict[str, Any]:
        """Read the metadata of an asset's newest materialisation, by label."""
        event = self._instance.get_latest_materialization_event(dg.AssetKey(asset))
        if event is None or event.asset_materialization is None:
            raise ConfigurationError(f"{asset} has not been materialised; run the job that makes it first.")
        return {label: value.value for label, value in event.asset_materialization.metadata.items()}

    def _execute(
        self,
        job: str,
        *,
        run_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        partition_key: str | None = None,
    ) -> str:
        resolved = self._definitions.resolve_job_def(job)
        run_id = dg.DagsterRun(job_name=job).run_id
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(run_id, len(resolved.nodes), done), daemon=True)
        watcher.start()
        try:
            resolved.execute_in_process(
                run_config={**self._logs, **(run_config or {})},
                instance=self._instance,
                run_id=run_id,
                partition_key=partition_key,
                tags={**_NOT_RETRIED, **(tags or {})},
            )
        except dg.DagsterError as error:
            raise _domain_error(error) or self._failed_check(run_id) or error from error
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished:
                self._instance.report_run_canceled(run, "Interrupted from the terminal.")
            raise KeyboardInterrupt from error
        except SQLAlchemyError as error:
            # The steps raise the pipeline's own errors: this one comes from where Dagster records the run.
            raise DatabaseError(
                f"the run cannot be recorded in {self._instance.root_directory} ({_in_short(error)}); "
                "check that its disk has free space and can be written, then run again."
            ) from error
        finally:
            done.set()
            watcher.join()
        return run_id

    def _failed_check(self, run_id: str) -> InvalidDataError | None:
        """Say which blocking check ended the run, if one did."""
        sentence = failed_check(self._instance, run_id)
        return None if sentence is None else InvalidDataError(sentence)

    def _watch(self, run_id: str, steps: int, done: threading.Event) -> None:
        """Report finished steps while the run goes on."""
        reported = 0
        # A store that cannot be read now is for the run itself to complain about.
        with suppress(SQLAlchemyError):
            while self._progress is not None:
                last_look = done.wait(_POLL_SECONDS)
                finished = [
                    log.step_key
                    for log in self._instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
                    if log.step_key
                ]
                for step in finished[reported:]:
                    reported += 1
                    self._progress(step, reported, steps)
                if last_look:
                    return


def _domain_error(error: BaseException) -> FraudPipelineError | None:
    """Find the pipeline's own error behind Dagster's wrapping, if there is one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FraudPipelineError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _in_short(error: Exception) -> str:
    """Give the beginning of a message that may be long, on one line."""
    return textwrap.shorten(re.split(r"\[SQL:|\(Background on", str(error))[0], width=200, placeholder=" …")
