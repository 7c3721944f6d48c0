"""Scores on request are those of the nightly run."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import httpx
import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from sqlalchemy import delete, select, text

from fraud_pipeline.adapters.database.alert_tables import alerts
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.tables import pipeline_runs, transactions
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_registry import ModelVersion
from fraud_pipeline.adapters.model_store import ModelStore, StoredModel
from fraud_pipeline.api.detection import DetectionService
from fraud_pipeline.api.models import Detection, TransactionIn
from fraud_pipeline.connections import open_model_store
from fraud_pipeline.core import scoring
from fraud_pipeline.core.calibration import RiskCutoffs
from fraud_pipeline.core.detectors.ensemble import ScoreReference
from fraud_pipeline.core.detectors.feedback_classifier import FeedbackClassifier
from fraud_pipeline.core.errors import DatabaseError, InvalidDataError, ModelArtefactError
from fraud_pipeline.core.schema import FEATURE_COLUMNS, TRANSACTION_FIELDS
from fraud_pipeline.core.training import FittedDetector
from fraud_pipeline.settings import Settings
from fraud_pipeline_tests.api.conftest import PREPARED_DAYS, Serve, day

SCORED: Final = day(PREPARED_DAYS - 1)
VERDICT: Final = (
    "isolation_forest_score",
    "local_outlier_factor_score",
    "feedback_classifier_score",
    "anomaly_score",
    "score_percentile",
    "confidence",
    "risk_level",
    "priority",
    "is_alert",
)

Start = Callable[..., DetectionService]


def of_day(settings: Settings, when: date = SCORED) -> list[TransactionIn]:
    rows = Lake(settings.lake).read("validated_transactions", when)[list(TRANSACTION_FIELDS)]
    rows["event_time"] = rows["event_time"].dt.to_pydatetime().tolist()
    return [TransactionIn.model_validate(row) for row in rows.to_dict("records")]


def unknown_transaction() -> TransactionIn:
    when = datetime(2026, 1, 21, 10, tzinfo=UTC)
    return TransactionIn(transaction_id="t", user_id="new", merchant_id="new", event_time=when, amount=10.0)


def nightly(settings: Settings, when: date = SCORED) -> pd.DataFrame:
    return Lake(settings.lake).read("anomaly_scores", when)


def same_as_nightly(found: Sequence[Detection | dict[str, Any]], night: pd.DataFrame) -> None:
    """Every score and verdict is the night's, in its order."""
    dicts = [each if isinstance(each, dict) else asdict(each) for each in found]
    frame = pd.DataFrame(dicts)
    assert frame["transaction_id"].tolist() == night["transaction_id"].tolist()
    for name in VERDICT:
        if pd.api.types.is_float_dtype(night[name]):
            mine, theirs = frame[name].to_numpy(dtype=float), night[name].to_numpy()
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9, err_msg=name)
        else:
            assert frame[name].tolist() == night[name].tolist(), name


def eventually(is_so: Callable[[], bool], what: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"{what}: not within {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def start(database_of: Callable[[Settings], Database]) -> Iterator[Start]:
    """Start a service, and wait for its model; all end with the test."""
    with ExitStack() as stack:

        def begin(settings: Settings, *, wait: bool = True) -> DetectionService:
            service = DetectionService(settings, database_of(settings))
            service.start()
            stack.callback(service.stop)
            if wait:
                eventually(service.ready, "ready")
            return service

        yield begin


@pytest.fixture
def service(trained_settings: Settings, start: Start) -> DetectionService:
    return start(trained_settings)


def test_each_transaction_of_a_day_has_the_score_of_the_night(
    trained_settings: Settings, service: DetectionService
) -> None:
    sent = of_day(trained_settings)
    found = [service.detect([each])[0] for each in sent]
    same_as_nightly(found, nightly(trained_settings))


def test_a_day_in_one_batch_has_the_scores_of_the_night(trained_settings: Settings, service: DetectionService) -> None:
    same_as_nightly(service.detect(of_day(trained_settings)), nightly(trained_settings))


def test_a_day_that_the_database_does_not_hold_yet_has_the_scores_of_its_night(
    trained_settings: Settings, service: DetectionService, database_of: Callable[[Settings], Database]
) -> None:
    with database_of(trained_settings).begin() as connection:
        connection.execute(delete(transactions).where(transactions.c.event_day == SCORED))
    same_as_nightly(service.detect(of_day(trained_settings)), nightly(trained_settings))


def test_three_days_in_one_batch_and_any_order_have_the_scores_of_their_nights(
    trained_settings: Settings, service: DetectionService
) -> None:
    days = [SCORED - timedelta(days=back) for back in (2, 1, 0)]
    sent = [each for when in days for each in of_day(trained_settings, when)]
    order = np.random.default_rng(0).permutation(len(sent))
    shuffled = service.detect([sent[position] for position in order])
    found = [shuffled[place] for place in np.argsort(order)]
    same_as_nightly(found, pd.concat([nightly(trained_settings, when) for when in days], ignore_index=True))


def test_alerts_have_the_reasons_that_the_table_of_alerts_holds(
    trained_settings: Settings, service: DetectionService, database_of: Callable[[Settings], Database]
) -> None:
    found = {each.transaction_id: each for each in service.detect(of_day(trained_settings)) if each.is_alert}
    of_night = select(alerts).where(alerts.c.event_day == SCORED, alerts.c.selection == "threshold")
    with database_of(trained_settings).begin() as connection:
        raised = connection.execute(of_night).mappings().all()
    assert {row["transaction_id"] for row in raised} == set(found)
    assert raised
    for row in raised:
        detection = found[row["transaction_id"]]
        assert detection.reason_text == row["reason_text"]
        assert detection.model_version == row["model_version"]
        assert detection.threshold_version == row["threshold_version"]
        for mine, theirs in zip(detection.reasons, row["reasons"], strict=True):
            assert mine == theirs


def test_what_is_no_alert_has_no_reasons(trained_settings: Settings, service: DetectionService) -> None:
    quiet = [each for each in service.detect(of_day(trained_settings)) if not each.is_alert]
    assert quiet
    assert all(each.reasons == [] and each.reason_text == "" for each in quiet)


def test_over_http_each_transaction_and_the_batch_have_the_scores_of_the_night(
    trained_settings: Settings, serve: Serve
) -> None:
    client = serve(trained_settings)
    eventually(lambda: client.get("/models/info").status_code == 200, "a model")
    sent = [each.model_dump(mode="json") for each in of_day(trained_settings)]
    found = [client.post("/detect", json=each).raise_for_status().json() for each in sent]
    same_as_nightly(found, nightly(trained_settings))
    batch = client.post("/detect/batch", json={"transactions": sent}).raise_for_status().json()
    same_as_nightly(batch["detections"], nightly(trained_settings))


@pytest.mark.parametrize("mode", ["feedback", "stacked"])
def test_in_every_scoring_mode_the_scores_are_those_of_the_night(
    trained_settings: Settings, start: Start, mode: str
) -> None:
    store = open_model_store(trained_settings)
    former = store.champion()
    assert former is not None
    learnt = with_classifier(trained_settings, store, former, mode)
    store.promote(learnt, reason="a test")
    try:
        # What the asset does; the lake is shared with other tests and keeps the scores of the former model.
        features = Lake(trained_settings.lake).read("transaction_features", SCORED)
        night = scoring.score(features, store.model(learnt.version).model)
        service = start(trained_settings)
        assert service.model_info().scoring_mode == mode  # type: ignore[union-attr]
        found = service.detect(of_day(trained_settings))
        same_as_nightly(found, night)
        alone = [service.detect([each])[0] for each in of_day(trained_settings)[:20]]
        same_as_nightly(alone, night[:20])
        alerts = [each for each in found if each.is_alert]
        assert all(each.reasons for each in alerts)
        assert alerts
        quick = service.detect(of_day(trained_settings), explain=False)
        assert [each.anomaly_score for each in quick] == [each.anomaly_score for each in found]
        assert not any(each.reasons for each in quick)
    finally:
        store.promote(former.version, reason="the test is over")


def with_classifier(settings: Settings, store: ModelStore, former: StoredModel, mode: str) -> ModelVersion:
    """Register the champion with a classifier beside it that has learnt to tell large amounts."""
    frame = Lake(settings.lake).read("transaction_features", SCORED)
    raw = {name: detector.score(frame) for name, detector in former.model.detectors.items()}
    rows = scoring.with_scores(frame, raw)
    columns = [*FEATURE_COLUMNS, *(scoring.score_column(name) for name in raw if mode == "stacked")]
    is_large = (frame["amount"] > frame["amount"].quantile(0.8)).to_numpy()
    classifier = FeedbackClassifier.fit(rows, columns, is_large, rounds=5)
    scores = classifier.score(rows)
    fitted = FittedDetector(classifier, ScoreReference.of(scores), {})
    threshold, high, critical = np.quantile(scores, [0.9, 0.95, 0.99]).tolist()
    calibration = replace(
        former.model.calibration,
        threshold=threshold,
        cutoffs=RiskCutoffs(threshold, high, critical),
        reference=ScoreReference.of(scores),
    )
    saved = store.save_detector("feedback_classifier", fitted, windows=former.windows, params={}, metrics={})
    return store.save_model(
        parts_of(store, former) | {"feedback_classifier": saved},
        former.model.ensemble.weights,
        calibration,
        windows=former.windows,
        metrics={},
        scoring_mode=mode,
    )


def parts_of(store: ModelStore, model: StoredModel) -> dict[str, ModelVersion]:
    """Registry entries of a model's detectors."""
    parts = store._document(model.version.version)[1]["detectors"]
    return {name: store._registry.read(name, int(part["version"]))[0] for name, part in parts.items()}


def test_a_score_is_the_same_alone_and_in_a_batch_with_others_of_other_users_and_merchants_in_any_order(
    trained_settings: Settings, service: DetectionService
) -> None:
    by_pair: dict[str, TransactionIn] = {}
    seen: set[str] = set()
    for each in of_day(trained_settings):
        if each.user_id not in seen and each.merchant_id not in seen:
            seen |= {each.user_id, each.merchant_id}
            by_pair[each.transaction_id] = each.model_copy(update={"transaction_id": f"new {each.transaction_id}"})
    sent = list(by_pair.values())
    assert len(sent) > 10
    alone = {each.transaction_id: service.detect([each])[0] for each in sent}
    extreme = TransactionIn(
        transaction_id="extreme",
        user_id="nobody",
        merchant_id="nowhere",
        event_time=sent[0].event_time,
        amount=trained_settings.max_amount,
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        mixed = [[*sent, extreme][position] for position in rng.permutation(len(sent) + 1)]
        for found in service.detect(mixed):
            if found.transaction_id != "extreme":
                assert found == alone[found.transaction_id]


def test_requests_that_are_computed_together_do_not_see_each_other(
    trained_settings: Settings, service: DetectionService
) -> None:
    first = of_day(trained_settings)[-1]
    changed = {"user_id": first.user_id, "merchant_id": first.merchant_id, "event_time": first.event_time}
    sent = [first.model_copy(update={"transaction_id": f"new {n}", **changed}) for n in range(60)]
    alone = replace(service.detect([sent[0]])[0], transaction_id="")

    async def all_at_once() -> list[list[Detection]]:
        return await asyncio.gather(*(service.detect_async([each]) for each in sent))

    for found in asyncio.run(all_at_once()):
        assert replace(found[0], transaction_id="") == alone
    # In one request they do.
    together = service.detect(sent)
    assert replace(together[0], transaction_id="") == alone
    assert together[-1].anomaly_score != alone.anomaly_score


def test_an_earlier_transaction_of_the_request_counts_and_a_later_one_does_not(
    trained_settings: Settings, service: DetectionService
) -> None:
    last = of_day(trained_settings)[-1].model_copy(update={"transaction_id": "m"})
    burst = [
        last.model_copy(update={"transaction_id": f"a{n}", "event_time": last.event_time - timedelta(minutes=n + 1)})
        for n in range(20)
    ]
    later = last.model_copy(update={"transaction_id": "later", "event_time": last.event_time + timedelta(seconds=1)})
    tied = last.model_copy(update={"transaction_id": "z", "amount": 5.0})
    [alone] = service.detect([last])
    assert service.detect([last, later, tied])[0] == alone
    assert service.detect([last, *burst])[0] != alone


def test_users_and_merchants_that_nobody_knows_are_scored(service: DetectionService) -> None:
    new = unknown_transaction()
    [found] = service.detect([new])
    assert 0 <= found.anomaly_score <= 1
    far = new.model_copy(update={"event_time": new.event_time.replace(year=2199)})
    assert service.detect([far, new.model_copy(update={"transaction_id": "u"})])[1].anomaly_score == found.anomaly_score


def test_nothing_at_all_gives_nothing(service: DetectionService) -> None:
    assert service.detect([]) == []


def test_an_identifier_twice_a_card_number_or_an_amount_beyond_the_limit_is_refused(
    trained_settings: Settings, service: DetectionService
) -> None:
    one = of_day(trained_settings)[0]
    with pytest.raises(InvalidDataError, match="is there twice"):
        service.detect([one, one])
    with pytest.raises(InvalidDataError, match="beyond the limit"):
        service.detect([one.model_copy(update={"amount": -2e6})])
    with pytest.raises(InvalidDataError, match="looks like a card number") as refused:
        service.detect([one.model_copy(update={"user_id": "4111 1111 1111 1111"})])
    assert "4111" not in str(refused.value)


def write_before(database: Database, last: TransactionIn, asset: str) -> None:
    """Leave transactions shortly before one, as a run that makes an asset leaves them."""
    row = {name: getattr(last, name) for name in ("user_id", "merchant_id", "amount")}
    origin = {"source_name": "s", "source_file": "f", "row_number": 1, "file_sha256": "0"}
    with database.begin() as connection:
        for minute in range(1, 30):
            when = last.event_time - timedelta(minutes=minute)
            new = {"transaction_id": f"x{minute}", "event_time": when, "event_day": SCORED}
            connection.execute(transactions.insert().values(**row, **origin, **new))
        connection.execute(pipeline_runs.insert().values(run_id="r", asset=asset, event_day=SCORED, rows=29))


def test_what_a_run_writes_is_seen_a_moment_later(
    trained_settings: Settings, service: DetectionService, database_of: Callable[[Settings], Database]
) -> None:
    last = of_day(trained_settings)[-1].model_copy(update={"transaction_id": "m"})
    [before] = service.detect([last])
    write_before(database_of(trained_settings), last, "validated_transactions")
    eventually(lambda: service.detect([last])[0] != before, "the rows are seen", 5)


@pytest.mark.parametrize(
    ("asset", "is_read_again"),
    [
        ("validated_transactions", True),
        ("fraud_labels", True),
        ("transaction_features", True),
        ("anomaly_scores", False),
        ("alerts", False),
    ],
)
def test_history_is_read_again_after_runs_that_write_it_and_kept_after_others(
    trained_settings: Settings,
    service: DetectionService,
    database_of: Callable[[Settings], Database],
    asset: str,
    is_read_again: bool,
) -> None:
    last = of_day(trained_settings)[-1].model_copy(update={"transaction_id": "m"})
    service.refresh()
    [before] = service.detect([last])
    write_before(database_of(trained_settings), last, asset)
    service.refresh()
    assert (service.detect([last])[0] != before) is is_read_again


def test_what_an_analyst_decides_is_seen_a_moment_later(
    trained_settings: Settings, service: DetectionService, database_of: Callable[[Settings], Database]
) -> None:
    """The label is left by hand, as the trigger of a decision leaves it."""
    database = database_of(trained_settings)
    one = of_day(trained_settings)[-1]
    with database.begin() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
    late = one.model_copy(update={"transaction_id": "m", "event_time": now + timedelta(hours=1)})
    elsewhere = late.model_copy(update={"user_id": "somebody", "transaction_id": "n"})
    [before], [there_before] = service.detect([late]), service.detect([elsewhere])
    with database.begin() as connection:
        connection.execute(text("SELECT create_partitions(:day, :day)"), {"day": now.date()})
        connection.execute(
            text(
                "INSERT INTO fraud_labels (known_day, transaction_id, user_id, merchant_id, event_time, event_day,"
                " is_fraud, label_source, label_known_at) VALUES (:day, :id, :user, :merchant, :time, :event_day,"
                " true, 'analyst', now())"
            ),
            {
                "day": now.date(),
                "id": one.transaction_id,
                "user": one.user_id,
                "merchant": one.merchant_id,
                "time": one.event_time,
                "event_day": SCORED,
            },
        )
    eventually(lambda: service.detect([late])[0] != before, "the label is seen", 5)
    eventually(lambda: service.detect([elsewhere])[0] != there_before, "it is seen for others of the merchant", 5)


def test_a_promotion_swaps_the_model_while_every_request_is_answered_wholly_by_one_version(
    trained_settings: Settings, service: DetectionService
) -> None:
    store = open_model_store(trained_settings)
    former = store.champion()
    assert former is not None
    other = store.save_model(
        parts_of(store, former),
        former.model.ensemble.weights,
        former.model.calibration,
        windows=former.windows,
        metrics={},
        scoring_mode=former.model.mode,
        normalisation="tail",
    )
    sent = of_day(trained_settings)[:40]
    answers: list[list[Detection]] = []
    faults: list[BaseException] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                answers.append(service.detect(sent))
            except BaseException as fault:
                faults.append(fault)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        old, new = str(former.version.version), str(other.version)
        eventually(lambda: len(answers) > 3, "answers")
        store.promote(other, reason="a test")
        eventually(lambda: answers[-1][0].model_version == new, "the new model", 20)
        assert service.model_info().model_version == new  # type: ignore[union-attr]
    finally:
        is_over.set()
        for asker in askers:
            asker.join()
        store.promote(former.version, reason="the test is over")
    assert not faults
    by_version = {old: set(), new: set()}  # type: dict[str, set[tuple[float, ...]]]
    for answer in answers:
        versions = {each.model_version for each in answer}
        assert len(versions) == 1
        by_version[versions.pop()].add(tuple(each.anomaly_score for each in answer))
    # One set of scores a version: no answer is of both.
    assert [len(by_version[version]) for version in (old, new)] == [1, 1]


def test_before_there_is_a_champion_the_service_says_so(settings: Settings, start: Start) -> None:
    service = start(settings, wait=False)
    assert not service.ready()
    assert service.model_info() is None
    with pytest.raises(ModelArtefactError, match="no champion model yet"):
        service.detect([unknown_transaction()])


def test_a_registry_that_cannot_be_reached_leaves_the_champion_serving(
    trained_settings: Settings, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    service = start(trained_settings)
    sent = of_day(trained_settings)[:5]
    before = service.detect(sent)
    service._champion._store._registry.__dict__["_client"] = _Unreachable()
    with pytest.raises(ModelArtefactError):
        service._champion.refresh()
    eventually(lambda: "the champion cannot be loaded" in caplog.text, "the log says so", 10)
    assert service.detect(sent) == before


class _Unreachable:
    def get_registered_model(self, name: str) -> None:
        raise ConnectionError(f"{name}: no route to host")


def test_without_the_database_what_is_in_memory_is_served_and_the_rest_is_refused(
    trained_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert trained_settings.database_url is not None
    database = _Switched(trained_settings.database_url.get_secret_value())
    service = DetectionService(trained_settings, database)
    service.start()
    try:
        eventually(service.ready, "ready")
        known = of_day(trained_settings)[0]
        service.refresh()
        before = service.detect([known])
        database.is_off = True
        unknown = known.model_copy(update={"user_id": "another"})
        with pytest.raises(DatabaseError, match="cannot be reached"):
            service.detect([unknown])
        assert service.detect([known]) == before
        eventually(lambda: "no longer brought up to date" in caplog.text, "the log says so", 5)
        database.is_off = False
        assert service.detect([unknown])
    finally:
        service.stop()
        database.dispose()


class _Switched(Database):
    """A database that can be switched off."""

    is_off = False

    def begin(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the base class
        if self.is_off:
            raise DatabaseError("The database cannot be reached.")
        return super().begin(*args, **kwargs)


def test_a_stopped_service_takes_no_more(trained_settings: Settings, service: DetectionService) -> None:
    service.stop()
    with pytest.raises(RuntimeError, match="not running"):
        service.detect(of_day(trained_settings)[:1])


def test_the_answer_passes_its_own_model_over_http(trained_settings: Settings, service: DetectionService) -> None:
    checked = TypeAdapter(Detection)
    for each in service.detect(of_day(trained_settings)):
        assert checked.validate_json(checked.dump_json(each)) == each
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:9/detect")
