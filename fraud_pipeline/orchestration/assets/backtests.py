"""A backtest as an asset: its figures in the UI, its report in a folder."""

from pathlib import Path

import dagster as dg

from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.splits import parse_window
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.assets.training import training_asset
from fraud_pipeline.orchestration.reports import version_of
from fraud_pipeline.settings import Settings


class BacktestConfig(dg.Config):
    """The options of `fraud-pipeline backtest`; windows are ``FROM:TO``, both ends included."""

    source: str
    train: str
    calibrate: str
    test: str
    output: str
    folder: str = ""
    label_delay_days: float | None = None
    walk_forward: bool = False
    review_capacity: int = 0
    """More than 0 closes the loop."""
    seeds: int = 0
    """0 for the default."""


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Declare ``backtest_report``."""

    @training_asset(group_name="backtest", kinds={"xgboost", "scikitlearn"})
    def backtest_report(context: dg.AssetExecutionContext, config: BacktestConfig) -> dg.MaterializeResult[None]:
        """How well the pipeline would have done on past days, knowing only what was known then."""
        # Nothing else needs what a backtest imports.
        from fraud_pipeline.orchestration.backtests import BacktestRequest, run_backtest

        if not Path(config.output).is_absolute():
            raise ConfigurationError(f"output {config.output!r} is relative; give the folder with its full path.")
        request = BacktestRequest(
            Path(config.source),
            parse_window(config.train),
            parse_window(config.calibrate),
            parse_window(config.test),
            Path(config.output),
            folder=Path(config.folder) if config.folder else None,
            label_delay_days=config.label_delay_days,
            walk_forward=config.walk_forward,
            review_capacity=config.review_capacity or None,
            seeds=config.seeds or None,
        )
        report, files = run_backtest(
            settings, request, lambda text, done, total: context.log.info(f"{text}: {done}/{total}")
        )
        figures = {
            f"{model}/{name}": estimate.value
            for model, estimates in report.models.items()
            for name, estimate in estimates.items()
            if estimate.known
        }
        return dg.MaterializeResult(
            data_version=version_of([report.protocol, figures]),
            metadata={
                "precision_recall_curves": plots.backtest_curves(report.curves),
                "report": [str(file) for file in files],
                "warnings": report.warnings,
                **figures,
            },
        )

    return [backtest_report]
