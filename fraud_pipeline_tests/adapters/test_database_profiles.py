from datetime import date
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import delete, select

from fraud_pipeline.adapters.database.bulk import read_frame
from fraud_pipeline.adapters.database.engine import Database
from fraud_pipeline.adapters.database.profile_repository import upsert_profiles
from fraud_pipeline.adapters.database.tables import user_profiles
from fraud_pipeline.core.errors import InvalidDataError

UNREACHABLE = Database("postgresql://127.0.0.1:1/nowhere")
MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


def profiles(**counts: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": list(counts),
            "n": list(counts.values()),
            "mean_amount": 12.345678,
            "std_amount": [np.nan if n == 1 else 2.5 for n in counts.values()],
            "first_event_time": pd.Timestamp("2026-02-01 08:00Z").as_unit("us"),
            "last_event_time": pd.Timestamp("2026-03-01 09:30Z").as_unit("us"),
        }
    )


def stored(database: Database) -> pd.DataFrame:
    with database.begin() as connection:
        return read_frame(connection, select(user_profiles).order_by(user_profiles.c.user_id))


def counts(database: Database) -> dict[str, int]:
    rows = stored(database)
    return dict(zip(rows["user_id"], rows["n"], strict=True))


def test_profiles_read_back_as_written(database: Database) -> None:
    frame = profiles(ann=1, bob=4)
    upsert_profiles(database, frame, MONDAY, run_id="run")
    written = frame.assign(as_of_day=MONDAY)[list(user_profiles.columns.keys())]
    pd.testing.assert_frame_equal(stored(database), written)


def test_newest_day_wins_in_whatever_order_days_are_filled(database: Database) -> None:
    frames = {MONDAY: profiles(ann=1, bob=1), TUESDAY: profiles(ann=2), WEDNESDAY: profiles(ann=3, cid=3)}
    for order in permutations(frames):
        for day in order:
            upsert_profiles(database, frames[day], day, run_id="run")
        assert counts(database) == {"ann": 3, "bob": 1, "cid": 3}
        assert stored(database)["as_of_day"].tolist() == [WEDNESDAY, MONDAY, WEDNESDAY]
        with database.begin() as connection:
            connection.execute(delete(user_profiles))


def test_same_day_replaces(database: Database) -> None:
    upsert_profiles(database, profiles(ann=5, bob=5), MONDAY, run_id="run")
    upsert_profiles(database, profiles(ann=1), MONDAY, run_id="run")
    assert counts(database) == {"ann": 1, "bob": 5}
    assert np.isnan(stored(database)["std_amount"].iloc[0])


def test_card_holder_who_is_there_twice_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="two rows with user_id ann"):
        upsert_profiles(UNREACHABLE, pd.concat([profiles(ann=1), profiles(ann=2)]), MONDAY, run_id="run")


def test_refused_profile_leaves_all_as_they_were(database: Database) -> None:
    upsert_profiles(database, profiles(ann=1, bob=1), MONDAY, run_id="run")
    with pytest.raises(InvalidDataError, match="ck_user_profiles_n"):
        upsert_profiles(database, profiles(ann=2, bob=0), TUESDAY, run_id="run")
    assert counts(database) == {"ann": 1, "bob": 1}


def test_other_columns_are_refused() -> None:
    with pytest.raises(InvalidDataError, match="user_profiles has no place for the column m2"):
        upsert_profiles(UNREACHABLE, profiles(ann=1).assign(m2=0.0), MONDAY, run_id="run")
