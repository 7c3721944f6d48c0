"""How the deployment stands, at a glance or for programs."""

import json
from datetime import date, datetime
from typing import Any

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.database.status_repository import Waiting, newest_days, waiting_alerts
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.runs import DAGSTER_YAML, newest_day, quieten_libraries
from fraud_pipeline.connections import open_database, open_model_store
from fraud_pipeline.orchestration.instance_status import RunSummary, last_runs
from fraud_pipeline.orchestration.runs import open_instance
from fraud_pipeline.settings import Settings


def status(settings: Settings, *, as_json: bool) -> None:
    """Print last scored day, age of the data, open alerts, model and last runs.

    Raises
    ------
    FraudPipelineError
        If the database, the lake or the model store cannot be read.
    """
    quieten_libraries()
    now = clock.utc_now()
    scored = max(Lake(settings.lake).days("anomaly_scores"), default=None)
    database = open_database(settings)
    try:
        alerts = waiting_alerts(database, now)
        written = {each.asset: {"day": str(each.day), "rows": each.rows} for each in newest_days(database)}
    finally:
        database.dispose()
    model = _model(settings, now)
    runs = _runs(settings)
    behind = None if scored is None else (newest_day(settings) - scored).days
    if as_json:
        document = {
            "last_scored_day": str(scored) if scored else None,
            "days_behind": behind,
            "alerts": [{"priority": each.priority, "open": each.open, "overdue": each.overdue} for each in alerts],
            "model": model,
            "newest_days": written,
            "runs": [run.to_json() for run in runs],
        }
        console.print(json.dumps(document, indent=2))
        return
    for name, text in {
        "Scored": _scored(scored, behind),
        "Alerts": _alerts(alerts),
        "Model": _model_text(model),
        "Runs": "none yet" if not runs else "",
    }.items():
        console.print(f"{name:<8}{text}".rstrip())
    for run in runs:
        took = "not ended" if run.seconds is None else f"{run.seconds:.0f} s"
        began = f"{run.started_at:%Y-%m-%d %H:%M} UTC" if run.started_at else "not started"
        console.print(f"        {began}  {run.status.lower():<9} {run.job} {run.days} ({took})")


def _model(settings: Settings, now: datetime) -> dict[str, Any] | None:
    models = open_model_store(settings)
    card = models.champion_card()
    if card is None:
        return None
    since = models.champion_since(card.version.version)
    return {
        "version": card.version.version,
        "scoring_mode": card.scoring_mode,
        "champion_since": since.isoformat() if since else None,
        "age_days": (now - since).days if since else None,
        "trained_to": str(card.windows.train_to),
    }


def _runs(settings: Settings) -> list[RunSummary]:
    if not (settings.dagster_home / "dagster.yaml").exists():
        return []
    with open_instance(settings, DAGSTER_YAML) as instance:
        return last_runs(instance)


def _scored(scored: date | None, behind: int | None) -> str:
    if scored is None or behind is None:
        return "no day yet"
    return f"{scored}, " + ("up to date" if behind <= 0 else f"{behind} {'day' if behind == 1 else 'days'} behind")


def _alerts(alerts: list[Waiting]) -> str:
    total, overdue = sum(each.open for each in alerts), sum(each.overdue for each in alerts)
    if not total:
        return "none open"
    parts = [
        f"priority {each.priority}: {each.open}" + (f" ({each.overdue} overdue)" if each.overdue else "")
        for each in alerts
    ]
    return f"{total} open, {overdue} overdue; {', '.join(parts)}"


def _model_text(model: dict[str, Any] | None) -> str:
    if model is None:
        return "none yet; next: fraud-pipeline train"
    age = "" if model["age_days"] is None else f", champion for {model['age_days']} days"
    return f"fraud_model version {model['version']} ({model['scoring_mode']}), trained to {model['trained_to']}{age}"
