"""The files of a backtest: figures for programs, a page for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fraud_pipeline.adapters import frame_files, storage
from fraud_pipeline.adapters.backtest_page import render
from fraud_pipeline.core.evaluation import BacktestReport


def write_report(report: BacktestReport, output: Path) -> list[Path]:
    """Write ``report.json``, ``figures.parquet``, ``weeks.parquet`` and ``report.html``.

    Each file is replaced as a whole, ``report.json`` last. The same report gives the same bytes.

    Parameters
    ----------
    report : BacktestReport
    output : Path
        Folder; is made if there is none.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ConfigurationError
        The folder cannot be written.
    """
    root = storage.open_root(str(output))
    files = {
        "report.html": render(report).encode(),
        "figures.parquet": frame_files.encode(_long(report)),
        "weeks.parquet": frame_files.encode(report.weeks),
        "report.json": _json(report).encode(),
    }
    for name, data in files.items():
        storage.publish(root / name, data)
    return [output / name for name in files]


def require_writable(output: Path) -> None:
    """Try to write to the folder of a report, before hours of work depend on it.

    Raises
    ------
    ConfigurationError
        The folder cannot be written.
    """
    is_new = not output.exists()
    probe = storage.open_root(str(output)) / "report.writable"
    storage.publish(probe, b"")
    storage.remove(probe)
    if is_new:
        output.rmdir()


def _long(report: BacktestReport) -> pd.DataFrame:
    rows = [
        {"model": model, "figure": name} | asdict(estimate)
        for model, estimates in report.models.items()
        for name, estimate in estimates.items()
    ]
    return pd.DataFrame(rows, columns=["model", "figure", "value", "low", "high"])


def _json(report: BacktestReport) -> str:
    content = {
        "protocol": report.protocol,
        "warnings": report.warnings,
        "models": {
            model: {name: asdict(estimate) for name, estimate in estimates.items()}
            for model, estimates in report.models.items()
        },
        "weeks": report.weeks.to_dict("records"),
        "scenarios": report.scenarios.to_dict("records"),
    }
    return json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Turn what numpy, pandas and dates leave into JSON; strict JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value
