"""Which model scores, since when and why; and taking a promotion back."""

from rich.table import Table

from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline.adapters.model_store import ModelStore
from fraud_pipeline.adapters.promotions import Promotion
from fraud_pipeline.cli.console import console
from fraud_pipeline.settings import Settings


def print_history(settings: Settings) -> None:
    """List the promotions, newest first."""
    history = _store(settings).history()
    if not history:
        console.print("No model was promoted yet; train one with `fraud-pipeline train`.")
        return
    table = Table("version", "before", "when", "by", "why", box=None)
    for each in sorted(history, key=lambda promotion: promotion.at, reverse=True):
        before = "-" if each.previous is None else str(each.previous)
        why = f"rolled back: {each.reason}" if each.is_roll_back else each.reason
        table.add_row(str(each.version), before, f"{each.at:%Y-%m-%d %H:%M}", each.actor, why)
    console.print(table)


def promote(settings: Settings, version: int, reason: str, by: str) -> None:
    """Move the champion alias to a version that loads."""
    store = _store(settings)
    _tell(store.promote(store.model(version).version, reason=reason, actor=by))


def roll_back(settings: Settings, reason: str, by: str) -> None:
    """Move the champion alias back to the version before."""
    _tell(_store(settings).roll_back(reason, by))


def _tell(promotion: Promotion) -> None:
    console.print(f"version {promotion.version} scores from now on; before: {promotion.previous or 'none'}")


def _store(settings: Settings) -> ModelStore:
    return ModelStore(ModelRegistry(settings.tracking_uri, settings.artefacts))
