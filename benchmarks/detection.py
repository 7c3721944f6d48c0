"""Scores on request: how long a client waits, how much goes through, and what the plain way would cost.

Run with ``python -m benchmarks.detection [FOLDER]``. It makes a deployment of 60 days in a temporary folder (or takes
the one that an earlier run left in FOLDER), serves it with uvicorn in a process of its own and lets clients on
loopback ask. Server, PostgreSQL and clients share the machine. The plain way is what one would write first: for each
request query, build features with pandas and score with scikit-learn, nothing kept.
"""

import gc
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import dagster as dg
import numpy as np
import pandas as pd
import psutil

from benchmarks.http_load import Load, constant, greatest
from fraud_pipeline.adapters.database import history_repository
from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.model_store import StoredModel
from fraud_pipeline.api.detection import DetectionService
from fraud_pipeline.api.models import TransactionIn
from fraud_pipeline.cli.data import ingest_path, write_simulation
from fraud_pipeline.connections import open_database, open_model_store
from fraud_pipeline.core import features, labels, profiles
from fraud_pipeline.core.detectors.base import matrix, signed_log
from fraud_pipeline.core.schema import TIME_DTYPE, TRANSACTION_FIELDS
from fraud_pipeline.core.simulation import SimulationConfig
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.orchestration.jobs import PREPARE, TRAIN
from fraud_pipeline.orchestration.runs import Runner
from fraud_pipeline.settings import Settings, child_environment

FIRST_DAY: Final = date(2026, 1, 1)
DAYS: Final = 60
LAST_DAY: Final = FIRST_DAY + timedelta(days=DAYS - 1)
PER_SECOND: Final = 200
CLIENTS: Final = 8
SECONDS: Final = 8.0
PLAIN_REQUESTS: Final = 30


def measure(folder: Path | None = None) -> str:
    """Deploy, serve and ask; takes about four minutes, one with a deployment that is there. Gives Markdown."""
    if folder is not None:
        return _measure(_deploy(folder))
    with TemporaryDirectory(prefix="fraud-pipeline-benchmark-") as temporary:
        settings = _deploy(Path(temporary))
        try:
            return _measure(settings)
        finally:
            EmbeddedPostgres(settings.postgres_folder).stop()


def _deploy(home: Path) -> Settings:
    settings = Settings.from_env(
        home=home, first_day=FIRST_DAY, label_maturity_days=7, max_false_positive_rate=0.005, api_max_age_days=36_500
    )
    if Lake(settings.lake).days("transaction_features"):
        return settings
    config = SimulationConfig(users=1000, merchants=200, first_day=FIRST_DAY, seed=3, fraud_rate=0.005)
    write_simulation(home / "export", config, DAYS, 5, settings.currency)
    ingest_path(settings, home / "export", home / "export" / "source.yaml")
    with dg.DagsterInstance.ephemeral() as instance:
        runner = Runner(build_definitions(settings), instance)
        runner.run_range(PREPARE, FIRST_DAY, LAST_DAY)
        runner.run_once(TRAIN, {})
    return settings


def _measure(settings: Settings) -> str:
    rows = Lake(settings.lake).read("validated_transactions", LAST_DAY)[list(TRANSACTION_FIELDS)]
    rows["event_time"] = rows["event_time"].dt.to_pydatetime().tolist()
    sent = [TransactionIn.model_validate(row) for row in rows.to_dict("records")]
    bodies = [each.model_dump_json().encode() for each in sent]
    together = {"transactions": [json.loads(body) for body in bodies]}
    batch = [json.dumps(together).encode()]
    scores_only = [json.dumps(together | {"reasons": False}).encode()]
    lines = [
        "| task | p50 | p95 | p99 | transactions/s | server's CPU a transaction |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    # A look of this client's collector at all that it has loaded would count as a delay of the server.
    gc.collect()
    gc.freeze()
    with _served(settings) as (server, port, ready):

        def steadily() -> Load:
            return constant(port, "/detect", bodies, per_second=PER_SECOND)

        def at_most(path: str, what: list[bytes], clients: int) -> Load:
            return greatest(port, path, what, clients=clients, seconds=SECONDS)

        whole = f"/detect/batch of {len(sent):,}"
        tasks: tuple[tuple[str, int, Callable[[], Load]], ...] = (
            (f"/detect, {PER_SECOND}/s, nothing read yet", 1, steadily),
            (f"/detect, {PER_SECOND}/s", 1, steadily),
            (f"/detect, {CLIENTS} clients", 1, lambda: at_most("/detect", bodies, CLIENTS)),
            (f"{whole}, 1 client", len(sent), lambda: at_most("/detect/batch", batch, 1)),
            (f"{whole}, without reasons, 1 client", len(sent), lambda: at_most("/detect/batch", scores_only, 1)),
            (f"{whole}, without reasons, 2 clients", len(sent), lambda: at_most("/detect/batch", scores_only, 2)),
        )
        for task, size, run in tasks:
            before = sum(server.cpu_times()[:2])
            load = run()
            cpu = (sum(server.cpu_times()[:2]) - before) / (len(load.latencies) * size)
            latency = " | ".join(f"{load.milliseconds(percentile):.1f} ms" for percentile in (50, 95, 99))
            failures = f" ({load.failures} failures)" if load.failures else ""
            lines.append(f"| {task}{failures} | {latency} | {load.rate * size:,.0f} | {cpu * 1e6:,.0f} µs |")
    return "\n".join([f"From start to a loaded model: {ready:.1f} s.\n", *lines, "", *_compare(settings, sent)])


@contextmanager
def _served(settings: Settings) -> Iterator[tuple[psutil.Process, int, float]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {f"FRAUD_PIPELINE_{name.upper()}": str(value) for name, value in _SERVER.items()}
    app = "fraud_pipeline.api.app:create_app_from_environment"
    options = ["--factory", "--port", str(port), "--no-access-log", "--log-level", "error"]
    begun = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - fixed but for the port
        [sys.executable, "-m", "uvicorn", app, *options], env={**child_environment(settings), **own}
    ) as process:
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    raise RuntimeError("the server did not start; its output says why")
                time.sleep(0.02)
            yield psutil.Process(process.pid), port, time.perf_counter() - begun
        finally:
            process.terminate()


_SERVER: Final = {
    "first_day": FIRST_DAY,
    "label_maturity_days": 7,
    "api_rate_limit": "10000000/minute",
    "api_max_age_days": 36_500,
}


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/models/info", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _compare(settings: Settings, sent: list[TransactionIn]) -> list[str]:
    database = open_database(settings)
    champion = open_model_store(settings).champion()
    if champion is None:
        raise RuntimeError("the training promoted no champion")
    service = DetectionService(settings, database)
    service.start()
    try:
        while not service.ready():
            time.sleep(0.02)
        found = service.detect(sent)
        asked = sent[:: max(1, len(sent) // PLAIN_REQUESTS)][:PLAIN_REQUESTS]
        begun = time.process_time()
        plain = [_plainly(settings, database, champion, each) for each in asked]
        slow = (time.process_time() - begun) / len(asked)
        # Each once before it counts: by then the service has read what was written while it started.
        scores = [service.detect([one])[0].anomaly_score for one in asked]
        deviation = max(abs(here - there) for here, there in zip(scores, plain, strict=True))
        begun = time.process_time()
        for each in asked * 5:
            service.detect([each])
        quick = (time.process_time() - begun) / (5 * len(asked))
    finally:
        service.stop()
        database.dispose()
    share = np.mean([each.is_alert for each in found])
    return [
        f"{share:.1%} of the transactions are alerts, whose reasons are computed as well.",
        "",
        f"A transaction whose history is in memory costs {quick * 1e3:.1f} ms of CPU; with queries, pandas and "
        f"scikit-learn in each request it is {slow * 1e3:.0f} ms, {slow / quick:.0f} times as much. "
        f"Scores differ by at most {deviation:.0e}.",
    ]


def _plainly(settings: Settings, database: Any, champion: StoredModel, one: TransactionIn) -> float:  # noqa: ANN401
    """Score one transaction by frames, from the tables to the score."""
    day = pd.Timestamp(one.event_time).tz_convert(settings.time_zone).date()
    first = day - timedelta(days=max(settings.baseline_days, 31))
    with database.begin() as connection:
        users = history_repository.read_transactions(connection, "user", [one.user_id], first, day)
        merchants = history_repository.read_transactions(connection, "merchant", [one.merchant_id], first, day)
        here = history_repository.read_labels(connection, "merchant", [one.merchant_id], first, day)
        cards = [one.user_id, *{user for user, fraud in zip(here.user_id, here.is_fraud, strict=True) if fraud}]
        there = history_repository.read_labels(connection, "user", cards, first, day)
    rows = pd.concat(
        [_transactions(users, "user_id", "merchant_id"), _transactions(merchants, "merchant_id", "user_id")]
    )
    rows = rows.drop_duplicates("transaction_id").sort_values(["event_time", "transaction_id"])
    rows = rows[rows["transaction_id"] != one.transaction_id]
    own = pd.DataFrame([one.model_dump()]).astype({"event_time": TIME_DTYPE} | dict.fromkeys(_TEXTS, "str"))
    rows = rows[rows["event_time"] <= own["event_time"].iloc[0]]
    local = rows["event_time"].dt.tz_convert(settings.time_zone).dt.date
    today, earlier = rows[local == day], rows[local < day]
    recent = earlier[earlier["event_time"] >= pd.Timestamp(day, tz="UTC") - pd.Timedelta(days=32)]
    activity = profiles.summarise_days(earlier[earlier["user_id"] == one.user_id], settings.time_zone)
    columns = ("transaction_id", "label_source", "label_known_at", "user_id", "merchant_id", "is_fraud", "event_time")
    known = pd.concat([_labels(here, columns), _labels(there, columns)]).drop_duplicates(list(columns)[:3])
    built = features.build(
        pd.concat([today, own], ignore_index=True)[list(TRANSACTION_FIELDS)],
        features.History(activity, recent[list(features.RECENT_COLUMNS)]),
        labels.changes(known.reset_index(drop=True)),
        time_zone=settings.time_zone,
        baseline_days=settings.baseline_days,
    )
    return _score_plainly(built.iloc[[-1]], champion)


_TEXTS: Final = ("transaction_id", "user_id", "merchant_id")


def _transactions(rows: history_repository.TransactionRows, own: str, other: str) -> pd.DataFrame:
    times = pd.Series(rows.time.astype("datetime64[us]")).dt.tz_localize("UTC")
    texts = {own: rows.entity, other: rows.other, "transaction_id": rows.ids}
    frame = pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in texts.items()})
    return frame.assign(event_time=times, amount=rows.amount)


def _labels(rows: history_repository.LabelRows, columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(dict(zip(columns, rows[:7], strict=True)))
    for name in ("label_known_at", "event_time"):
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True).astype(TIME_DTYPE)
    texts = dict.fromkeys((*_TEXTS, "label_source"), "str")
    return frame.astype(texts | {"is_fraud": bool}).assign(user_amount_zscore_90d=np.array(rows.zscore, dtype=float))


def _score_plainly(row: pd.DataFrame, champion: StoredModel) -> float:
    model, raw = champion.model, {}
    for name, detector in model.detectors.items():
        if name != "feedback_classifier":
            values = matrix(row, detector.columns)
            if name == "local_outlier_factor":
                center, scale = np.array(detector.state()["center"]), np.array(detector.state()["scale"])
                values = ((signed_log(values) if detector.state()["scaling"] == "log" else values) - center) / scale
            raw[name] = -detector.estimator.score_samples(values)
    if "feedback_classifier" in model.detectors:
        seen = row.assign(**{f"{name}_score": values for name, values in raw.items()})
        raw["feedback_classifier"] = model.detectors["feedback_classifier"].score(seen)
    return float(model.anomaly_score(raw)[0])


if __name__ == "__main__":
    sys.stdout.write(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None) + "\n")
