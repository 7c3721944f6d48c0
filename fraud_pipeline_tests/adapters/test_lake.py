import math
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraud_pipeline.adapters import frame_files
from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.core.errors import ConfigurationError, InvalidDataError, MissingPartitionError
from fraud_pipeline.core.schema import TIME_DTYPE

DAY, NEXT_DAY = date(2026, 1, 31), date(2026, 2, 1)
ANY_FRAME = st.builds(
    lambda rows: frame(*zip(*rows, strict=True)) if rows else frame((), (), (), (), ()),
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(exclude_categories=["Cs"])),
            st.none() | st.datetimes(),
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
        ),
        max_size=5,
    ),
)


def frame(
    texts: tuple[object, ...] = ("a", None),
    times: tuple[object, ...] = ("2026-01-31T01:02:03.000004", None),
    flags: tuple[bool, ...] = (True, False),
    counts: tuple[int, ...] = (1, -2),
    numbers: tuple[float, ...] = (0.1, math.nan),
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": pd.Series(texts, dtype="str"),
            "time": pd.Series(times, dtype="datetime64[us]").dt.tz_localize("UTC"),
            "flag": pd.Series(flags, dtype="bool"),
            "count": pd.Series(counts, dtype="int64"),
            "number": pd.Series(numbers, dtype="float64"),
        }
    )


@pytest.fixture
def lake(storage_root: str) -> Lake:
    return Lake(storage_root)


@pytest.mark.parametrize("rows", [2, 0])
def test_a_partition_comes_back_with_its_dtypes(lake: Lake, rows: int) -> None:
    written = frame().head(rows)
    lake.write("features", DAY, written)
    found = lake.read("features", DAY)
    pd.testing.assert_frame_equal(found, written.reset_index(drop=True))
    assert found.dtypes.astype("str").tolist() == ["str", TIME_DTYPE, "bool", "int64", "float64"]


def test_a_write_replaces_the_partition(lake: Lake) -> None:
    lake.write("features", DAY, frame())
    lake.write("features", DAY, frame().tail(1))
    assert len(lake.read("features", DAY)) == 1


def test_columns_come_in_the_order_asked_for(lake: Lake) -> None:
    lake.write("features", DAY, frame())
    pd.testing.assert_frame_equal(lake.read("features", DAY, ["flag", "text"]), frame()[["flag", "text"]])


def test_a_missing_day_is_named_with_the_remedy(lake: Lake) -> None:
    with pytest.raises(
        MissingPartitionError, match=r"features has no partition for 2026-01-31 .* materialise features"
    ):
        lake.read("features", DAY)


def test_days_that_exist_are_read_and_others_left_out(lake: Lake) -> None:
    lake.write("features", NEXT_DAY, frame())
    lake.write("features", DAY, frame().head(1))
    found = lake.read_days("features", [DAY, date(2026, 1, 1), NEXT_DAY], ["count"])
    assert {day: part["count"].tolist() for day, part in found.items()} == {DAY: [1], NEXT_DAY: [1, -2]}
    assert list(found) == [DAY, NEXT_DAY]


def test_days_are_listed_and_deleted(lake: Lake) -> None:
    assert lake.days("features") == set()
    lake.write("features", DAY, frame())
    lake.write("features", NEXT_DAY, frame())
    lake.write("scores", DAY, frame())
    lake.delete("features", DAY)
    lake.delete("features", DAY)
    assert lake.days("features") == {NEXT_DAY}
    assert lake.exists("scores", DAY)
    assert not lake.exists("features", DAY)


def test_other_files_beside_the_partitions_are_no_days(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "notes.txt").touch()
    assert Lake(str(tmp_path)).days("features") == set()


def test_the_same_frame_gives_the_same_bytes_however_it_was_put_together(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    whole = pd.concat([frame()] * 2000, ignore_index=True)
    pieces = pd.concat([whole.head(1234), whole.tail(-1234)])
    pieces.attrs["origin"] = "pieces"
    lake.write("features", DAY, whole)
    lake.write("features", NEXT_DAY, pieces)
    files = sorted((tmp_path / "features").iterdir())
    assert [file.name for file in files] == ["2026-01-31.parquet", "2026-02-01.parquet"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_writing_leaves_the_frame_alone(lake: Lake) -> None:
    written = frame()
    written.attrs["origin"] = "here"
    lake.write("features", DAY, written)
    assert written.attrs == {"origin": "here"}


@given(ANY_FRAME)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_frame_survives(tmp_path: Path, written: pd.DataFrame) -> None:
    lake = Lake(str(tmp_path))
    lake.write("features", DAY, written)
    pd.testing.assert_frame_equal(lake.read("features", DAY), written, check_exact=True)


def test_a_column_that_was_not_stored_is_named(lake: Lake) -> None:
    lake.write("features", DAY, frame())
    with pytest.raises(InvalidDataError, match=r"features of 2026-01-31 has no column velocity \(it has text, time"):
        lake.read("features", DAY, ["text", "velocity"])


@pytest.mark.parametrize("keep", [0, 10, 500, -20])
def test_a_damaged_partition_is_refused(tmp_path: Path, keep: int) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "2026-01-31.parquet").write_bytes(frame_files.encode(frame())[:keep])
    with pytest.raises(InvalidDataError, match=r"features of 2026-01-31 is damaged .*: delete it and materialise"):
        Lake(str(tmp_path)).read("features", DAY)


def test_damage_inside_a_partition_is_refused(tmp_path: Path) -> None:
    data = bytearray(frame_files.encode(frame(("a" * 5000,) * 2)))
    data[4:60] = b"\xff" * 56
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "2026-01-31.parquet").write_bytes(data)
    with pytest.raises(InvalidDataError, match="is damaged"):
        Lake(str(tmp_path)).read("features", DAY)


def test_rows_are_counted_for_each_day_without_reading_them(lake: Lake) -> None:
    assert lake.row_counts("scores") == {}
    lake.write("scores", NEXT_DAY, frame().iloc[:0])
    lake.write("scores", DAY, frame())
    assert list(lake.row_counts("scores").items()) == [(DAY, 2), (NEXT_DAY, 0)]


def test_damage_is_noticed_when_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / f"{DAY}.parquet").write_bytes(frame_files.encode(frame())[:-1])
    with pytest.raises(InvalidDataError, match=f"scores of {DAY} is damaged .*: delete it and materialise it again"):
        Lake(str(tmp_path)).row_counts("scores")


def test_documents_come_back_as_they_were(lake: Lake) -> None:
    lake.write_json("threshold", {"b": [1, 0.1, None], "a": "é"})
    lake.write_json("threshold", {"b": [2, 0.1, None], "a": "é"})
    assert lake.read_json("threshold") == {"a": "é", "b": [2, 0.1, None]}
    assert lake.days("threshold") == set()


def test_a_document_exists_once_it_is_written(lake: Lake) -> None:
    assert not lake.exists_json("windows")
    lake.write_json("windows", {})
    assert lake.exists_json("windows")


def test_a_document_is_text_that_people_can_compare(tmp_path: Path) -> None:
    Lake(str(tmp_path)).write_json("threshold", {"b": 1, "a": "é"})
    assert (tmp_path / "threshold.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_a_number_that_json_cannot_hold_is_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        lake.write_json("threshold", np.inf)
    with pytest.raises(MissingPartitionError, match=r"threshold is not in .* materialise threshold first"):
        lake.read_json("threshold")


@pytest.mark.parametrize("name", ["", "../features", "a/b", ".hidden", "Features", "a b"])
def test_a_name_that_is_no_dataset_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a dataset"):
        lake.write(name, DAY, frame())
    with pytest.raises(ConfigurationError, match="cannot name a dataset"):
        lake.read_json(name)


def test_equal_frames_have_equal_digests_however_they_came_about() -> None:
    whole = frame()
    pieces = pd.concat([whole.iloc[:1], whole.iloc[1:]], ignore_index=True)
    indexed = whole.set_axis([7, 8])
    indexed.attrs["note"] = "of no concern"
    assert {frame_files.digest(each) for each in (whole, pieces, indexed)} == {frame_files.digest(whole)}


@pytest.mark.parametrize(
    "other",
    [
        frame(texts=("a", "")),
        frame(times=("2026-01-31T01:02:03.000005", None)),
        frame(flags=(True, True)),
        frame(counts=(1, 2)),
        frame(numbers=(math.nextafter(0.1, 1), math.nan)),
        frame().iloc[::-1],
        frame().iloc[:1],
        frame().rename(columns={"text": "words"}),
        frame().astype({"count": "float64"}),
    ],
)
def test_whatever_is_different_in_a_frame_changes_its_digest(other: pd.DataFrame) -> None:
    assert frame_files.digest(other) != frame_files.digest(frame())
