"""The sliding window of days, and small values between training assets."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pandas as pd

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.orchestration import plots
from fraud_pipeline.orchestration.io_managers import JsonIOManager
from fraud_pipeline.orchestration.partitions import TrailingDays, days_between
from fraud_pipeline_tests.orchestration.conftest import day


class CountingLake(Lake):
    """Counts how often each day is read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.reads: dict[object, int] = {}

    def read(self, dataset, day, columns=None):  # type: ignore[no-untyped-def]  # noqa: ANN001
        self.reads[day] = self.reads.get(day, 0) + 1
        return super().read(dataset, day, columns)


def filled_lake(root: Path) -> CountingLake:
    lake = CountingLake(str(root))
    for number in (0, 1, 3, 4, 5):
        lake.write("numbers", day(number), pd.DataFrame({"n": [number], "unused": [0]}))
    return lake


def test_the_window_before_a_day_has_the_days_that_exist_oldest_first(tmp_path: Path) -> None:
    trailing = TrailingDays(filled_lake(tmp_path), "numbers", 4, ["n"])
    frame, found = trailing.before(day(5))
    assert frame is not None
    assert (frame["n"].tolist(), found, list(frame.columns)) == ([1, 3, 4], 3, ["n"])


def test_the_window_through_a_day_ends_with_it(tmp_path: Path) -> None:
    frame, found = TrailingDays(filled_lake(tmp_path), "numbers", 3, ["n"]).through(day(5))
    assert frame is not None
    assert (frame["n"].tolist(), found) == ([3, 4, 5], 3)


def test_walking_forward_reads_each_file_once(tmp_path: Path) -> None:
    lake = filled_lake(tmp_path)
    trailing = TrailingDays(lake, "numbers", 4, ["n"])
    for number in range(2, 7):
        trailing.before(day(number))
    assert {lake.reads[day(number)] for number in (0, 1, 3, 4, 5)} == {1}


def test_an_empty_window_is_none(tmp_path: Path) -> None:
    assert TrailingDays(filled_lake(tmp_path), "numbers", 3, ["n"]).before(day(0)) == (None, 0)


def test_days_between_includes_both_ends() -> None:
    assert days_between(day(1), day(3)) == [day(1), day(1) + timedelta(days=1), day(3)]


def test_a_small_value_reaches_the_next_asset_through_the_lake(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))

    @dg.asset
    def facts() -> dict[str, int]:
        return {"version": 3}

    @dg.asset
    def doubled(facts: dict[str, int]) -> int:
        return facts["version"] * 2

    result = dg.materialize([facts, doubled], resources={"io_manager": JsonIOManager(lake)})
    assert result.success
    assert lake.read_json("facts") == {"version": 3}
    assert lake.read_json("doubled") == 6


def test_a_plot_is_an_inline_image() -> None:
    value = plots.score_histogram([0.1, 0.5, 0.9], 0.5).value
    assert str(value).startswith("![score histogram](data:image/png;base64,iVBOR")
