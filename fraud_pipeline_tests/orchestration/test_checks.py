"""Every asset check passes on sound data, can fail, and is recorded for each day of a run."""

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import psycopg
import pytest
from psycopg import sql

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core.errors import InvalidDataError
from fraud_pipeline.orchestration.assets import transactions as ingestion
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.checks import CHECKS, build_checks, held_days
from fraud_pipeline.orchestration.jobs import PREPARE, SCORE
from fraud_pipeline.orchestration.resources import build_resources
from fraud_pipeline.orchestration.runs import Runner
from fraud_pipeline_tests.conftest import libpq_url
from fraud_pipeline_tests.orchestration.conftest import Deployment, day, settings_for

Deploy = Callable[..., Deployment]
Damage = Callable[[Lake], None]
NIGHT = day(29)
LATER = day(40)
DOCUMENT = Path(__file__).parents[2] / "docs" / "checks.md"
BLOCKING = {(asset, check.name) for asset, checks in CHECKS.items() for check in checks if check.is_blocking}


def evaluations(deployment: Deployment) -> dict[tuple[str, str, str | None], dg.AssetCheckEvaluation]:
    """What the newest run found, by asset, check and day; the verdict of a range has no day."""
    run = deployment.instance.get_runs(limit=1)[0]
    logs = deployment.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [log.get_dagster_event().asset_check_evaluation_data for log in logs]
    return {(each.asset_key.to_user_string(), each.check_name, each.partition): each for each in found}


def evaluate(deployment: Deployment, asset: str, of: date, *names: str) -> dict[str, dg.AssetCheckEvaluation]:
    """Run checks of an asset, all by default, without making it again, as the webserver does."""
    chosen = {
        dg.AssetCheckKey(dg.AssetKey(asset), check.name)
        for check in CHECKS[asset]
        if check.name in (names or check.name)
    }
    job = deployment.definitions.resolve_implicit_global_asset_job_def()
    job.get_subset(asset_selection=set(), asset_check_selection=chosen).execute_in_process(
        partition_key=of.isoformat(), instance=deployment.instance, raise_on_error=False
    )
    return {name: each for (_, name, _), each in evaluations(deployment).items()}


@pytest.fixture(scope="module")
def night(
    tmp_path_factory: pytest.TempPathFactory, prepared_home: tuple[Path, str], postgres_server_url: str
) -> Iterator[Deployment]:
    """Give a deployment after a scored night, which the tests leave as it is."""
    home, template = prepared_home
    copied, name = tmp_path_factory.mktemp("night") / "home", "checks_night"
    shutil.copytree(home, copied)
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    settings = settings_for(copied, postgres_server_url.replace("/postgres?", f"/{name}?")).model_copy(
        update={"artefact_root": str(home / "artefacts")}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        definitions = build_definitions(settings)
        Runner(definitions, instance).run_day(SCORE, NIGHT)
        yield Deployment(settings, definitions, instance)
    with psycopg.connect(libpq_url(postgres_server_url), autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def spoilt(night: Deployment, tmp_path: Path) -> Deployment:
    """Give the night with a copy of its lake to damage."""
    shutil.copytree(night.settings.lake, tmp_path / "lake")
    return night.changed(lake_root=str(tmp_path / "lake"))


def test_a_night_records_every_check_for_its_day_with_a_figure_and_passes_what_is_sound(night: Deployment) -> None:
    for asset, checks in CHECKS.items():
        found = evaluate(night, asset, NIGHT)
        assert set(found) == {check.name for check in checks}
        for check in checks:
            assert found[check.name].partition == NIGHT.isoformat()
            assert any(isinstance(figure.value, int | float) for figure in found[check.name].metadata.values())
            assert found[check.name].severity is check.severity
            if asset != "drift_report":  # a night of a few hundred rows may drift
                assert found[check.name].passed, (asset, check.name, found[check.name].metadata)


def test_the_night_itself_ran_the_checks(night: Deployment) -> None:
    for asset, checks in CHECKS.items():
        for check in checks:
            key = dg.AssetCheckKey(dg.AssetKey(asset), check.name)
            (first, *_) = night.instance.event_log_storage.get_asset_check_execution_history(key, limit=100)[::-1]
            assert first.event is not None
            assert first.event.job_name == SCORE


def rewritten(dataset: str, change: Callable[[pd.DataFrame], pd.DataFrame], of: date = NIGHT) -> Damage:
    return lambda lake: lake.write(dataset, of, change(lake.read(dataset, NIGHT)))


def first_of(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Put a value into a column of every eighth row."""
    return lambda rows: rows.assign(**{column: rows[column].mask(rows.index % 8 == 0, value)})


def one_less(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[1:]


def a_cent_more(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(amount=rows["amount"] + (rows.index == 0) * 0.01)


DAMAGES: list[tuple[str, str, str, Damage]] = [
    ("raw_transactions", "volume", "ratio", rewritten("raw_transactions", lambda rows: rows.head(3))),
    ("raw_transactions", "volume", "rows", rewritten("raw_transactions", lambda rows: rows.head(0))),
    ("raw_transactions", "duplicates", "within_the_day",
     rewritten("raw_transactions", lambda rows: pd.concat([rows, rows.head(20)], ignore_index=True))),
    ("raw_transactions", "late_rows", "late_rate",
     rewritten("raw_transactions", first_of("event_time", f"{day(28)}T12:00:00Z"))),
    ("raw_transactions", "null_rates", "null_rate", rewritten("raw_transactions", first_of("user_id", None))),
    ("validated_transactions", "reject_rate", "reject_rate",
     rewritten("rejected_transactions", lambda rows: pd.concat([rows] * 50, ignore_index=True))),
    ("validated_transactions", "schema", "problem",
     rewritten("validated_transactions", lambda rows: rows.iloc[::-1].reset_index(drop=True))),
    ("validated_transactions", "schema", "problem", rewritten("validated_transactions", first_of("amount", None))),
    ("validated_transactions", "reconciliation", "lost_rows", rewritten("validated_transactions", one_less)),
    ("validated_transactions", "reconciliation", "lost_money", rewritten("validated_transactions", a_cent_more)),
    ("validated_transactions", "reconciliation", "lost_money", rewritten("raw_transactions", first_of("amount", "1"))),
    ("transaction_features", "reconciliation", "lost_rows", rewritten("transaction_features", one_less)),
    ("transaction_features", "reconciliation", "lost_money", rewritten("transaction_features", a_cent_more)),
    ("anomaly_scores", "reconciliation", "lost_rows", rewritten("anomaly_scores", one_less)),
    ("anomaly_scores", "reconciliation", "lost_money", rewritten("anomaly_scores", a_cent_more)),
    ("anomaly_scores", "alert_rate", "alerts", rewritten("anomaly_scores", lambda rows: rows.assign(is_alert=True))),
    ("fraud_labels", "label_coverage", "coverage", rewritten("fraud_labels", lambda rows: rows.head(0))),
    ("drift_report", "feature_drift", "drifted_share",
     rewritten("drift_report", lambda rows: rows.assign(level="major"))),
    ("drift_report", "score_drift", "psi", rewritten("drift_report", lambda rows: rows.assign(level="major"))),
]  # fmt: skip


@pytest.mark.parametrize(("asset", "check", "figure", "damage"), DAMAGES, ids=lambda value: str(value)[:24])
def test_a_check_fails_on_what_it_is_there_to_find(
    spoilt: Deployment, asset: str, check: str, figure: str, damage: Damage
) -> None:
    damage(spoilt.lake)
    found = evaluate(spoilt, asset, NIGHT)[check]
    assert not found.passed
    assert figure in found.metadata
    assert found.blocking is ((asset, check) in BLOCKING)


def test_an_old_model_is_told_from_the_day_it_scores(spoilt: Deployment) -> None:
    for dataset in ("anomaly_scores", "transaction_features"):
        rewritten(dataset, lambda rows: rows, LATER)(spoilt.lake)
    found = evaluate(spoilt.changed(max_model_age_days=5), "anomaly_scores", LATER)["model_age"]
    assert not found.passed
    assert int(str(found.metadata["age_days"].value)) > 5
    assert evaluate(spoilt, "anomaly_scores", LATER)["model_age"].passed


def test_every_check_has_a_damage_that_it_finds() -> None:
    found = {(asset, check) for asset, check, _, _ in DAMAGES} | {("anomaly_scores", "model_age")}
    assert found == {(asset, check.name) for asset, checks in CHECKS.items() for check in checks}


def test_what_has_nothing_to_compare_with_passes_and_says_so(spoilt: Deployment) -> None:
    spoilt.lake.delete("drift_report", NIGHT)
    rewritten("anomaly_scores", lambda rows: rows.head(0))(spoilt.lake)
    spoilt.lake.delete("validated_transactions", day(24))
    drift = evaluate(spoilt, "drift_report", NIGHT)
    scores = evaluate(spoilt, "anomaly_scores", NIGHT)
    labels = evaluate(spoilt, "fraud_labels", NIGHT)
    for found in (drift["feature_drift"], drift["score_drift"], scores["alert_rate"], scores["model_age"],
                  labels["label_coverage"]):  # fmt: skip
        assert found.passed
        assert set(found.metadata) == {"reason"}
    assert not scores["reconciliation"].passed


def test_a_range_records_each_day_and_a_verdict_over_all(deploy: Deploy) -> None:
    deployment = deploy()
    (spoilt,) = deployment.landing_zone.transaction_files(day(1))
    path = Path(deployment.settings.landing) / spoilt.key
    lines = path.read_text().splitlines()
    empty = [",".join([line.split(",")[0], "", *line.split(",")[2:]]) for line in lines[1:20]]
    path.write_text("\n".join([lines[0], *empty, *lines[20:]]) + "\n")
    deployment.changed(max_reject_rate=0.5).runner.run_range(PREPARE, day(0), day(2))
    found = evaluations(deployment)
    for asset in ("raw_transactions", "validated_transactions", "transaction_features", "fraud_labels"):
        for check in CHECKS[asset]:
            days = {key[2] for key in found if key[:2] == (asset, check.name)}
            assert days == {None, *(day(number).isoformat() for number in range(3))}
    passed = [found["raw_transactions", "null_rates", day(number).isoformat()].passed for number in range(3)]
    assert passed == [True, False, True]
    verdict = found["raw_transactions", "null_rates", None]
    assert not verdict.passed
    figures = {label: value.value for label, value in verdict.metadata.items()}
    assert (figures["day"], figures["days"], figures["days_failed"]) == (day(1).isoformat(), 3, 1)
    assert figures["field"] == "user_id"


def test_money_that_a_table_does_not_keep_stops_the_day_before_its_features(deploy: Deploy) -> None:
    deployment = deploy()
    url = deployment.settings.database_url
    assert url is not None
    with psycopg.connect(libpq_url(url.get_secret_value()), autocommit=True) as session:
        session.execute(
            "create function dearer() returns trigger language plpgsql as "
            "$$ begin new.amount := new.amount + 0.0001; return new; end $$"
        )
        session.execute("create trigger dearer before insert on transactions for each row execute function dearer()")
    complaint = (
        r"reconciliation of validated_transactions failed on 2026-01-01 \(limit 0, lost_money 0\.\d+, lost_rows 0"
    )
    with pytest.raises(InvalidDataError, match=complaint) as raised:
        deployment.runner.run_day(PREPARE, day(0))
    assert str(raised.value).endswith(
        "so the assets after it were not run; run the day again from its raw files, and report it if the check fails "
        "again. See docs/checks.md."
    )
    assert deployment.lake.days("validated_transactions") == {day(0)}
    assert not deployment.lake.days("transaction_features")


def test_a_warning_stops_nothing(deploy: Deploy) -> None:
    deployment = deploy(max_null_rate=0.0, max_duplicate_rate=0.0, max_late_rate=0.0)
    (file,) = deployment.landing_zone.transaction_files(day(0))
    path = Path(deployment.settings.landing) / file.key
    path.write_text(path.read_text() + "x1,,m1,2026-01-01T10:00:00Z,5\n")
    deployment.runner.run_day(PREPARE, day(0))
    found = evaluations(deployment)["raw_transactions", "null_rates", day(0).isoformat()]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert deployment.lake.days("transaction_features") == {day(0)}


def test_checks_run_with_plain_materialize_too(deploy: Deploy) -> None:
    deployment = deploy()
    result = dg.materialize(
        [*ingestion.build_assets(deployment.settings), *build_checks(deployment.settings)[:2]],
        partition_key=day(0).isoformat(),
        resources=dict(build_resources(deployment.settings)),
        instance=deployment.instance,
    )
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    names = {check.name for asset in ("raw_transactions", "validated_transactions") for check in CHECKS[asset]}
    assert set(found) == names
    assert {each.partition for each in found.values()} == {day(0).isoformat()}
    assert all(each.passed for each in found.values())


def test_single_checks_can_be_run_alone(night: Deployment) -> None:
    assert set(evaluate(night, "raw_transactions", NIGHT, "volume")) == {"volume"}


def test_every_blocking_check_says_what_to_do() -> None:
    blocking = [check for checks in CHECKS.values() for check in checks if check.is_blocking]
    assert len(blocking) >= 5
    assert all(check.remedy and check.severity is dg.AssetCheckSeverity.ERROR for check in blocking)


def test_the_document_has_a_line_for_every_check_with_its_severity(night: Deployment) -> None:
    graph = night.definitions.resolve_asset_graph()
    declared = {(key.asset_key.to_user_string(), key.name): graph.get(key).blocking for key in graph.asset_check_keys}
    rows = re.findall(r"^\| `(\w+)` `(\w+)` \|.*\| (WARN|ERROR|ERROR, blocking) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert [(asset, name) for asset, name, _ in rows if (asset, name) not in declared] == []
    assert {(asset, name): severity.endswith("blocking") for asset, name, severity in rows} == declared
    severities = {(asset, name): severity.partition(",")[0] for asset, name, severity in rows}
    for asset, checks in CHECKS.items():
        for check in checks:
            assert severities[asset, check.name] == check.severity.value


def test_a_day_is_held_while_the_newest_evaluation_of_a_blocking_check_failed(deploy: Deploy) -> None:
    deployment = deploy()
    days = [day(number) for number in range(4)]
    deployment.runner.run_range(PREPARE, days[0], days[2])
    assert held_days(deployment.instance, "validated_transactions", days) == set()
    with pytest.raises(InvalidDataError, match="reject_rate"):
        deployment.changed(max_reject_rate=-1.0).runner.run_range(PREPARE, days[1], days[2])
    assert held_days(deployment.instance, "validated_transactions", days) == {days[1], days[2]}
    deployment.runner.run_day(PREPARE, days[2])
    assert held_days(deployment.instance, "validated_transactions", days) == {days[1]}
    # A warning holds nothing, and neither does an asset without blocking checks.
    deployment.changed(max_null_rate=-1.0).runner.run_day(PREPARE, days[0])
    assert held_days(deployment.instance, "raw_transactions", days) == set()
