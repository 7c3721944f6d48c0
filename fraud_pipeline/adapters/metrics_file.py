"""Figures for Prometheus as a file, for the textfile collector of its node exporter."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fraud_pipeline.adapters import storage

PREFIX: Final = "fraud_pipeline_"

Labels = tuple[tuple[str, str], ...]
"""Names and values."""


@dataclass(frozen=True)
class Gauge:
    """A figure that may rise and fall.

    Parameters
    ----------
    name : str
        Without the prefix ``fraud_pipeline_``.
    text : str
        What it counts or measures.
    values : mapping of Labels to float
        All with labels of the same names.
    """

    name: str
    text: str
    values: Mapping[Labels, float]


def write_metrics(file: Path, gauges: Iterable[Gauge]) -> None:
    """Replace the file by the figures in the text format of Prometheus, at once or not at all.

    Raises
    ------
    ConfigurationError
        The file cannot be written.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client import Gauge as Family

    registry = CollectorRegistry()
    for gauge in gauges:
        names = [name for name, _ in next(iter(gauge.values), ())]
        family = Family(PREFIX + gauge.name, gauge.text, names, registry=registry)
        for labels, value in gauge.values.items():
            (family.labels(**dict(labels)) if labels else family).set(value)
    storage.publish(storage.open_root(str(file.parent)) / file.name, generate_latest(registry))
