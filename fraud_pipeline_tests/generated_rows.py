"""A database full of believable rows, generated inside PostgreSQL."""

import time
from pathlib import Path

import psycopg

_STATEMENTS = Path(__file__).with_suffix(".sql").read_text().split(";\n\n")


def generate(session: psycopg.Connection, transactions: int) -> dict[str, float]:
    """Fill an empty database with a year of rows up to yesterday; returns the seconds that each slow part took."""
    session.execute("SELECT set_config('generated.transactions', %s, false)", [str(transactions)])
    seconds = {}
    for statement in _STATEMENTS:
        started = time.perf_counter()
        session.execute(statement.encode())
        taken = time.perf_counter() - started
        if taken > 1:
            seconds[next(line for line in statement.splitlines() if line[:1].isalpha()).removesuffix(" (")] = taken
    return seconds
