"""What people open in a spreadsheet, a browser or a terminal does nothing there.

That text in a backtest's HTML page is escaped is tested in ``adapters/test_backtest_report.py``.
"""

import ast
import re
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.data import simulate
from fraud_pipeline.core.simulation import SimulationConfig
from fraud_pipeline.core.transactions import validate

PACKAGE = Path(__file__).parents[2] / "fraud_pipeline"
WRITES_CSV = {"to_csv", "write_csv", "DictWriter", "writer", "to_excel", "to_html"}
FORMULA = re.compile(r"^[=+\-@\t\r]")
KNOWN = {
    # Simulated files: ids, times and amounts of the program's own making, never a user's text.
    "cli/data.py",
    # Rows on their way into PostgreSQL, which nobody opens.
    "adapters/database/bulk.py",
}


def writers() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        if names & WRITES_CSV:
            found.add(str(path.relative_to(PACKAGE)))
    return found


def test_only_known_places_write_tables_as_text() -> None:
    """A new one has to put an apostrophe before what a spreadsheet would take for a formula, and be listed here."""
    assert writers() == KNOWN


def test_simulated_files_hold_no_formula(tmp_path: Path) -> None:
    config = SimulationConfig(users=40, merchants=20, seed=1, first_day=date(2026, 1, 1), fraud_rate=0.02)
    simulate(tmp_path, config, days=3, label_days=3, currency="EUR")
    files = sorted(tmp_path.rglob("*.csv"))
    assert len(files) > 3
    for file in files:
        cells = pd.read_csv(file, dtype=str).melt()["value"].dropna()
        formulas = [cell for cell in cells if FORMULA.match(cell) and not re.fullmatch(r"-[\d.,' ]+", cell)]
        assert formulas == [], file.name


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\x07", "a\r\nb", "a\tb", "a\x00"])
def test_an_id_that_would_control_a_terminal_is_rejected(text: str) -> None:
    raw = pd.DataFrame(
        {
            "transaction_id": ["t1", "t2"],
            "user_id": ["u1", "u1"],
            "merchant_id": ["m1", text],
            "event_time": ["2026-01-01T10:00:00Z"] * 2,
            "amount": ["1.00"] * 2,
            "time_zone": ["UTC"] * 2,
            "currency": ["EUR"] * 2,
            "source_name": ["bank"] * 2,
            "source_file": ["f.csv"] * 2,
            "file_sha256": ["0" * 64] * 2,
            "row_number": [1, 2],
        }
    )
    valid, rejected = validate(raw, date(2026, 1, 1), "UTC")
    assert valid["transaction_id"].tolist() == ["t1"]
    assert rejected["reason"].str.startswith("merchant_id holds a control character").tolist() == [True]


def test_names_are_no_markup_in_the_terminal() -> None:
    name = "[red]shop[/red] [link=http://evil.example]click[/link] :skull:"
    with console.capture() as capture:
        console.print(f"at {name}")
    assert capture.get() == f"at {name}\n"
