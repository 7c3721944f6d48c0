"""Writing a day of scores to PostgreSQL: this package against what pandas offers.

Run with ``python -m benchmarks.database`` (about 3 minutes); ``--rows`` sets the size of the day. A server of its own
is started in a temporary folder. CPU seconds are those of this process and of the server together; by the clock
COPY gains more, since there both work at the same time. Ways that are compared have to leave the same rows, or it
fails. ``to_sql(method="multi")`` is not among them: it takes six times as long as the default.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import psutil
from rich.console import Console
from sqlalchemy import delete, text

from fraud_pipeline.adapters.database.day_repository import replace_day
from fraud_pipeline.adapters.database.embedded import EmbeddedPostgres
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.partitions import create_partitions
from fraud_pipeline.adapters.database.tables import anomaly_scores
from fraud_pipeline.core.schema import LINEAGE_COLUMNS, RISK_LEVELS

ROWS: Final = 1_000_000
DAY: Final = date(2026, 3, 1)
# What is in the table, whatever the order and however it came there.
FINGERPRINT: Final = text(
    "SELECT count(*), sum(hashtextextended(row_of_table::text, 0)) FROM anomaly_scores row_of_table"
)


def measure(rows: int = ROWS) -> str:
    """Write the same day in every way.

    Parameters
    ----------
    rows : int
        Transactions of the day.

    Returns
    -------
    str
        Markdown.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server may run as another account
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            return _compare(Database(server.url("benchmark")), _postmaster(Path(folder)), rows)
        finally:
            server.stop()


def random_scores(rows: int) -> pd.DataFrame:
    """Draw the scores of a day, in the order of time."""
    rng = np.random.default_rng(0)
    names = ("isolation_forest", "local_outlier_factor", "feedback_classifier")
    seconds = np.sort(rng.integers(86_400_000_000, size=rows))
    frame = pd.DataFrame(
        {
            "transaction_id": [f"t{number:08}" for number in rng.permutation(rows)],
            "user_id": [f"u{number:06}" for number in rng.integers(50_000, size=rows)],
            "event_time": (pd.Timestamp(DAY, tz="UTC") + pd.to_timedelta(seconds, unit="us")),
            **{f"{name}_score": rng.random(rows) for name in names},
            **{
                name: rng.random(rows) for name in ("ensemble_score", "anomaly_score", "score_percentile", "confidence")
            },
            "risk_level": np.array(RISK_LEVELS)[rng.integers(len(RISK_LEVELS), size=rows)],
            "priority": rng.integers(1, 6, size=rows),
            "is_alert": rng.random(rows) < 0.01,
            **dict.fromkeys(LINEAGE_COLUMNS, "ab" * 16),
        }
    )
    return frame.astype({"event_time": "datetime64[us, UTC]"})


def _compare(database: Database, postmaster: psutil.Process, rows: int) -> str:
    database.upgrade()
    with database.begin() as connection:
        create_partitions(connection, DAY, DAY)
    day = random_scores(rows)
    changed = day.assign(run_id="a later run")

    def replace(frame: pd.DataFrame) -> None:
        replace_day(database, anomaly_scores, DAY, frame, run_id="run", asset="anomaly_scores")

    def to_sql() -> None:
        with database.begin() as connection:
            day.assign(event_day=DAY).to_sql("anomaly_scores", connection, if_exists="append", index=False)

    def empty() -> None:
        with database.begin() as connection:
            connection.execute(delete(anomaly_scores))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM FULL anomaly_scores"))

    spent: dict[str, tuple[float, float]] = {}
    fingerprints = set()
    ways: Mapping[str, Callable[[], None]] = {
        "replace_day": partial(replace, day),
        "pandas to_sql": to_sql,
    }
    replace(day.head(100))  # what is loaded and compiled once
    for way, write in ways.items():
        empty()
        spent[way] = _spent(postmaster, write)
        with database.begin() as connection:
            fingerprints.add(tuple(connection.execute(FINGERPRINT).one()))
    if len(fingerprints) != 1:
        raise AssertionError(f"The ways left different rows: {fingerprints}")
    empty()
    replace(day)
    spent["replace_day again, nothing changed"] = _spent(postmaster, partial(replace, day))
    spent["replace_day again, every row changed"] = _spent(postmaster, partial(replace, changed))
    database.dispose()
    return _table(spent, rows)


def _spent(postmaster: psutil.Process, write: Callable[[], None]) -> tuple[float, float]:
    """CPU seconds of this process and the server, and seconds by the clock."""
    before, start = _cpu_seconds(postmaster), time.perf_counter()
    write()
    return _cpu_seconds(postmaster) - before, time.perf_counter() - start


def _cpu_seconds(postmaster: psutil.Process) -> float:
    times = postmaster.cpu_times()
    # Processes of the server that ended are counted with their parent.
    total = time.process_time() + times.user + times.system + times.children_user + times.children_system
    for process in postmaster.children(recursive=True):
        own = process.cpu_times()
        total += own.user + own.system
    return total


def _postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "pgdata" / "postmaster.pid").read_text().splitlines()[0]))


def _table(spent: Mapping[str, tuple[float, float]], rows: int) -> str:
    ours = spent["replace_day"]
    lines = [
        f"### {rows:,} rows of `anomaly_scores` into PostgreSQL",
        "",
        "| | CPU s | times | seconds by the clock | times |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {way} | {cpu:.1f} | {cpu / ours[0]:.1f} | {clock:.1f} | {clock / ours[1]:.1f} |"
            for way, (cpu, clock) in spent.items()
        ),
        "",
        "All leave the same rows. `replace_day` replaces a day in one transaction; `to_sql` can only append.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare ways to write a day to PostgreSQL.")
    parser.add_argument("--rows", type=int, default=ROWS, help="transactions of the day")
    Console(soft_wrap=True).print(measure(parser.parse_args().rows), markup=False, highlight=False)


if __name__ == "__main__":
    main()
