"""Small plots as Markdown images, which the Dagster UI shows inline."""

import base64
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import dagster as dg
import numpy as np

from fraud_pipeline.core.calibration import Calibration


def precision_recall(calibration: Calibration) -> dg.MetadataValue[Any]:
    """Precision over recall on the calibration window, with the chosen point."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        axes.plot(calibration.recall_curve, calibration.precision_curve, color="#4f43dd")
        axes.plot(calibration.recall.value, calibration.precision.value, "o", color="#d2421a", label="threshold")
        axes.axvline(calibration.target_recall, color="grey", linestyle=":", label="target recall")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title="Calibration window")
        axes.legend()

    return _image("precision-recall curve", draw)


def score_histogram(scores: Sequence[float] | np.ndarray, threshold: float) -> dg.MetadataValue[Any]:
    """Distribution of the anomaly score, with the alert threshold."""

    def draw(axes: Any) -> None:  # noqa: ANN401 - matplotlib ships no types
        axes.hist(scores, bins=np.linspace(0, 1, 51), color="#4f43dd", log=True)
        axes.axvline(threshold, color="#d2421a", label=f"threshold {threshold:.3f}")
        axes.set(xlabel="anomaly score", ylabel="transactions", xlim=(0, 1), title="Scores of the run")
        axes.legend()

    return _image("score histogram", draw)


def _image(name: str, draw: Callable[[Any], None]) -> dg.MetadataValue[Any]:
    # Figure rather than pyplot: no global state, no display, nothing to close.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), dpi=90, layout="constrained")
    draw(figure.subplots())
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")
