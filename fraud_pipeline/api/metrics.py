"""Figures of the API for Prometheus."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from fraud_pipeline.core.errors import ConfigurationError

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# When each series began is of no use to anybody.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counts requests and detections, and asks for the rest when it is read.

    Parameters
    ----------
    is_shared : bool
        Whether several processes serve and add up their counts in ``PROMETHEUS_MULTIPROC_DIR``.

    Raises
    ------
    ConfigurationError
        They are to, but that folder is not set.
    """

    def __init__(self, *, is_shared: bool = False) -> None:
        own = CollectorRegistry()
        self._registry = own
        if is_shared:
            self._registry = CollectorRegistry()
            try:
                MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]  # the library's
            except ValueError as error:
                raise ConfigurationError(
                    "PROMETHEUS_MULTIPROC_DIR must name a folder where several processes serve: set it, or start "
                    "them with `fraud-pipeline api`."
                ) from error
        self._requests = Counter(
            "fraud_api_requests", "Requests by route, method and status", ["route", "method", "status"], registry=own
        )
        self._seconds = Histogram(
            "fraud_api_request_seconds", "Time to answer", ["route", "method"], buckets=_SECONDS, registry=own
        )
        self._detections = Counter(
            "fraud_api_detections", "Transactions scored on request, by risk level", ["risk_level"], registry=own
        )
        self._labelled: dict[tuple[str, ...], tuple[Counter, Histogram]] = {}

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        # Clients may send any word, and each would be a series of its own.
        method = method if method in _METHODS else "other"
        key = (route, method, str(status))
        if key not in self._labelled:
            self._labelled[key] = (self._requests.labels(*key), self._seconds.labels(route, method))
        count, histogram = self._labelled[key]
        count.inc()
        histogram.observe(seconds)

    def count_detections(self, by_risk: Mapping[str, int]) -> None:
        """Count scored transactions by their risk level."""
        for level, number in by_risk.items():
            self._detections.labels(level).inc(number)

    def render(self, model_version: str | None, data_age_days: float | None) -> bytes:
        """Write all figures in the text format of Prometheus, with what is true now of model and data."""
        now = CollectorRegistry()
        now.register(_Now(model_version, data_age_days))
        return generate_latest(self._registry) + generate_latest(now)


class _Now(Collector):
    def __init__(self, model_version: str | None, data_age_days: float | None) -> None:
        self._model_version = model_version
        self._data_age_days = data_age_days

    def collect(self) -> Iterator[Metric]:
        model = GaugeMetricFamily("fraud_api_model", "Model that scores requests, always 1", labels=["model_version"])
        if self._model_version is not None:
            model.add_metric([self._model_version], 1)
        yield model
        age = GaugeMetricFamily("fraud_api_data_age_days", "Days since the last scored day; NaN if not known")
        age.add_metric([], float("nan") if self._data_age_days is None else self._data_age_days)
        yield age
