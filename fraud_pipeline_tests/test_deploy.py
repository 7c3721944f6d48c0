"""The files of the production profile hold together; what runs them is not at hand here."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from fraud_pipeline.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
OTHERS = {"FRAUD_PIPELINE_DAGSTER_URL", "FRAUD_PIPELINE_COMPUTE_LOGS_BUCKET", "FRAUD_PIPELINE_CODE_LOCATION_HOST"}
"""Read by Dagster from its own files, not by the settings."""
KNOWN = OTHERS | {f"FRAUD_PIPELINE_{name.upper()}" for name in Settings.model_fields}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return content


def test_every_variable_of_the_profile_is_one_that_the_program_or_dagster_reads() -> None:
    texts = [(DEPLOY / name).read_text() for name in (".env.example", "dagster.yaml", "workspace.yaml", "Dockerfile")]
    used = set(re.findall(r"FRAUD_PIPELINE_[A-Z_]+[A-Z]", "\n".join(texts)))
    assert used >= OTHERS
    assert used <= KNOWN


def test_the_image_has_every_file_that_it_copies_and_does_not_run_as_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [line.split() for line in lines if line.startswith("COPY") and "--from" not in line]
    sources = [word for words in copied for word in words[1:-1] if not word.startswith("--")]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert sources
    assert [name for name in sources if not (ROOT / name).exists() or f"!{name}" not in ignore] == []
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]


def test_every_container_of_the_pipeline_is_read_only_and_without_capabilities() -> None:
    services = read("compose.yaml")["services"]
    ours = {name: service for name, service in services.items() if service["image"].startswith("fraud-pipeline:")}
    assert ours.keys() == {"mlflow", "migrate", "code-location", "webserver", "daemon", "api"}
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours.values())
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_chart_asks_for_the_version_of_dagster_that_is_locked() -> None:
    locked = dict(re.findall(r"^(dagster)==([0-9.]+)", (ROOT / "requirements/runtime.lock").read_text(), re.MULTILINE))
    assert f"--version {locked['dagster']} " in (DEPLOY / "helm/values.yaml").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (deployment,) = read("helm/values.yaml")["dagster-user-deployments"]["deployments"]
    assert deployment["image"]["tag"] == project["version"]


def test_both_instances_watch_and_retry_runs_and_let_one_of_a_pool_run_at_a_time() -> None:
    for instance in (yaml.safe_load((ROOT / "dagster.yaml").read_text()), read("dagster.yaml")):
        assert instance["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}
        # Jobs ask for their retries; whatever is launched by hand is not tried again behind its back.
        assert instance["run_retries"] == {"enabled": True, "max_retries": 0}
        monitoring = instance["run_monitoring"]
        assert monitoring["enabled"]
        # Else a killed run would hold its pool, and a run without a process would stay started, for ever.
        assert monitoring["free_slots_after_run_end_seconds"] > 0
        assert monitoring["max_runtime_seconds"] >= monitoring["start_timeout_seconds"] > 0
        # No run worker of ours can be taken up again.
        assert monitoring["max_resume_run_attempts"] == 0
        assert instance["freshness"]["enabled"]
        assert not instance["telemetry"]["enabled"]


def test_both_instances_differ_in_storage_and_compute_logs_alone() -> None:
    embedded, production = yaml.safe_load((ROOT / "dagster.yaml").read_text()), read("dagster.yaml")
    assert production.keys() - embedded.keys() == {"storage", "compute_logs"}
    assert {name: production[name] for name in embedded} == embedded
