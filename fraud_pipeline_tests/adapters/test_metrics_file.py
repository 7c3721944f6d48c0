from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fraud_pipeline.adapters.metrics_file import Gauge, Labels, write_metrics
from fraud_pipeline.core.errors import ConfigurationError


def test_prometheus_reads_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "metrics" / "fraud_pipeline.prom"
    runs: dict[Labels, float] = {
        (("job", "score"), ("status", "success")): 3.0,
        (("job", 'a"b\n'), ("status", "failure")): 1.0,
    }
    write_metrics(file, [Gauge("runs", "Runs.", runs), Gauge("time", "When.", {(): 7.0}), Gauge("none", "None.", {})])
    families = {family.name: family for family in text_string_to_metric_families(file.read_text())}
    found = {tuple(sample.labels.items()): sample.value for sample in families["fraud_pipeline_runs"].samples}
    assert found == runs
    assert [sample.value for sample in families["fraud_pipeline_time"].samples] == [7.0]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_metrics(tmp_path / "metrics" / "fraud_pipeline.prom", [])
