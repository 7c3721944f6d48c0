"""``doctor`` and ``status`` on a deployment that was walked through, and on broken ones."""

import json
from pathlib import Path

from fraud_pipeline_tests.cli.conftest import NIGHTS, Deployment, Result, Walk


def checks(result: Result) -> dict[str, dict[str, str]]:
    """What the doctor found, by name."""
    return {check["name"]: check for check in json.loads(result.out)["checks"]}


def test_a_deployment_in_good_health_passes(walk: Walk) -> None:
    result = walk.deployment.succeed("doctor")
    assert "all is well" in result.out
    assert "SHA-256" in result.out
    assert "it does not run" in result.out  # a warning: commands need no daemon
    found = checks(walk.deployment.succeed("doctor", "--json"))
    assert {found[name]["state"] for name in ("database", "database schema", "database role", "champion model")} == {
        "ok"
    }
    assert found["daemon"]["state"] == "warning"


def test_everything_that_is_wrong_is_said_at_once_and_without_secrets(walk: Walk, tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file")
    broken = walk.deployment.with_variables(
        database_url="postgresql://analyst:pa55word@127.0.0.1:1/alerts",
        lake_root=tmp_path / "lake",
        notify_webhook_url="http://127.0.0.1:1/very-secret",
        smtp_url="smtp://127.0.0.1:1",
        notify_email_to="ada@bank.example",
    )
    result = broken.run("doctor", "--json")
    assert result.code == 1
    failed = {name for name, check in checks(result).items() if check["state"] == "failed"}
    assert failed == {"database", "lake", "webhook", "e-mail"}
    assert "pa55word" not in result.out
    assert "very-secret" not in result.out
    assert "FAILED" in broken.run("doctor").out


def test_an_altered_model_is_found_before_the_night(walk: Walk) -> None:
    altered = []
    for file in walk.deployment.home.glob("artefacts/**/model.json"):
        altered.append((file, file.read_bytes()))
        file.write_bytes(file.read_bytes() + b" ")
    try:
        result = walk.deployment.run("doctor", "--json")
    finally:
        for file, content in altered:
            file.write_bytes(content)
    assert altered
    assert result.code == 1
    assert "do not match the digest" in checks(result)["champion model"]["detail"]


def test_the_status_of_a_walked_deployment(walk: Walk) -> None:
    result = walk.deployment.succeed("status")
    assert f"{NIGHTS[-1]}" in result.out
    assert "days behind" in result.out
    assert "fraud_model version 1" in result.out
    assert "measure_alerts" in result.out
    found = json.loads(walk.deployment.succeed("status", "--json").out)
    assert found["last_scored_day"] == str(NIGHTS[-1])
    assert found["days_behind"] > 0
    assert found["model"]["version"] == 1
    assert sum(each["open"] for each in found["alerts"]) > 0
    assert found["newest_days"]["validated_transactions"]["day"] == str(NIGHTS[-1])
    assert len(found["runs"]) == 5
    # Other tests share the deployment, and some of them make a run fail.
    assert {run["status"] for run in found["runs"]} <= {"SUCCESS", "FAILURE", "CANCELED"}


def test_the_status_of_an_unreachable_database_is_one_sentence(deployment: Deployment) -> None:
    result = deployment.run("status")
    assert result.code == 2
    assert "cannot be reached" in result.err


def test_a_run_logs_json_with_its_id_and_day_when_asked_to(landed: Deployment) -> None:
    # The database cannot be reached: the run fails, which the log says as well.
    result = landed.with_variables(log_format="json").process("run", "--from", NIGHTS[0], "--to", NIGHTS[0])
    assert result.code == 2
    lines = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    of_run = [line for line in lines if "run_id" in line]
    assert {line["partition"] for line in of_run} == {str(NIGHTS[0])}
    assert len({line["run_id"] for line in of_run}) == 1
    assert "PIPELINE_FAILURE" in {line.get("event") for line in of_run}
    assert "pa55word" not in result.out + result.err
