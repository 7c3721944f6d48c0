"""What the asset of the features reads from the lake, and how it cuts a range."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.orchestration.assets.features import BATCH_DAYS, FraudZScores, batches_of
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline_tests.builders import DAY, JANUARY, Event, label_events
from fraud_pipeline_tests.orchestration.conftest import Deployment, day

ZSCORE = "user_amount_zscore_90d"


class CountingLake(Lake):
    """Counts how often each day is read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.reads: Counter[date] = Counter()

    def read(self, dataset: str, day: date, columns: Sequence[str] | None = None) -> pd.DataFrame:
        assert columns == ["transaction_id", ZSCORE]
        self.reads[day] += 1
        return super().read(dataset, day, columns)


def filled_lake(root: Path) -> CountingLake:
    lake = CountingLake(str(root))
    for number in (0, 1, 2):
        features = {"transaction_id": [f"t{number}", f"other{number}"], ZSCORE: [float(number), 9.0], "amount": 1.0}
        lake.write("transaction_features", day(number), pd.DataFrame(features))
    return lake


def verdict(number: int, *, is_fraud: bool = True, hour: int = 12) -> Event:
    happened = JANUARY + number * DAY + hour * DAY // 24
    return Event(happened + 5 * DAY, "u1", "m1", is_fraud, f"t{number}", happened)


def joined(zscores: FraudZScores, events: list[Event], before: date) -> list[float]:
    known = label_events(events).drop(columns=ZSCORE)
    return zscores.join(known, before)[ZSCORE].tolist()


def test_frauds_get_the_z_scores_of_their_days_and_nothing_else_is_read(tmp_path: Path) -> None:
    lake = filled_lake(tmp_path)
    events = [verdict(2), verdict(0, is_fraud=False), verdict(1), verdict(2), verdict(7)]
    found = joined(FraudZScores(lake, "UTC"), events, day(9))
    np.testing.assert_array_equal(found, [2.0, np.nan, 1.0, 2.0, np.nan])
    assert lake.reads == {day(1): 1, day(2): 1, day(7): 1}


def test_a_z_score_is_looked_up_once_a_run_and_not_before_its_day_is_built(tmp_path: Path) -> None:
    lake = filled_lake(tmp_path)
    zscores = FraudZScores(lake, "UTC")
    np.testing.assert_array_equal(joined(zscores, [verdict(1), verdict(2)], day(2)), [1.0, np.nan])
    assert joined(zscores, [verdict(1), verdict(2), verdict(0)], day(3)) == [1.0, 2.0, 0.0]
    assert lake.reads == {day(0): 1, day(1): 1, day(2): 1}


def test_the_day_of_a_fraud_is_that_of_the_deployment(tmp_path: Path) -> None:
    lake = filled_lake(tmp_path)
    assert joined(FraudZScores(lake, "America/New_York"), [verdict(1, hour=28)], day(9)) == [1.0]
    assert lake.reads == {day(1): 1}


def test_no_labels_read_nothing(tmp_path: Path) -> None:
    lake = filled_lake(tmp_path)
    assert joined(FraudZScores(lake, "UTC"), [], day(9)) == []
    assert not lake.reads


def test_a_day_alone_has_the_rows_that_it_had_in_a_range(prepared: Deployment) -> None:
    in_range = {number: prepared.lake.read("transaction_features", day(number)) for number in (15, 29)}
    table = prepared.rows("transaction_features")
    for number, expected in in_range.items():
        prepared.runner.run_day(PREPARE, day(number))
        found = prepared.lake.read("transaction_features", day(number))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert prepared.rows("transaction_features") == table
    for name in ("merchant_unexplained_frauds_30d", "user_known_frauds_30d", "merchant_genuine_share_7d"):
        assert in_range[29][name].max() > 0, name


def test_a_range_is_cut_into_batches_of_neighbouring_days() -> None:
    days = [day(number) for number in range(2 * BATCH_DAYS + 3)]
    without = [*days[:2], *days[3:]]
    assert [len(batch) for batch in batches_of(days)] == [BATCH_DAYS, BATCH_DAYS, 3]
    assert [len(batch) for batch in batches_of(without)] == [2, BATCH_DAYS, BATCH_DAYS]
    for batch in batches_of(without):
        assert batch[-1] - batch[0] == timedelta(days=len(batch) - 1)
    assert [each for batch in batches_of(without) for each in batch] == without
