"""Which label counts when files, analysts and silence disagree."""

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraud_pipeline.core import labels as labels_stage
from fraud_pipeline.core.labels import MEMORY, changes, current, from_decisions, merge, nothing_landed, of_day
from fraud_pipeline.core.schema import LABEL_COLUMNS, TIME_DTYPE
from fraud_pipeline_tests.core.test_labels import LABEL_DTYPES, MATURITY, at, landed, transactions, truths

FILE, ANALYST, SILENCE = "chargeback_file", "analyst", "unreported"
FRAUD, GENUINE = True, False
Said = tuple[str, bool, float]
"""By whom, what, on which day."""


def said(*labelled: Said, of: str = "a") -> pd.DataFrame:
    """Labels of one transaction."""
    rows = [(of, "u", "m", at(0), is_fraud, at(day), source) for source, is_fraud, day in labelled]
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)


def decisions(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Decisions by transaction, outcome and day."""
    frame = pd.DataFrame(rows, columns=["transaction_id", "outcome", "day"])
    frame["decided_at"] = pd.Series([at(day) for day in frame["day"]], dtype=TIME_DTYPE)
    frame["decision_id"] = range(1, len(rows) + 1)
    return frame.astype({"transaction_id": "str", "outcome": "str"})[list(labels_stage.DECISION_COLUMNS)]


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ((ANALYST, GENUINE), (FILE, FRAUD), FRAUD),
        ((FILE, FRAUD), (ANALYST, GENUINE), FRAUD),
        ((ANALYST, FRAUD), (FILE, GENUINE), FRAUD),
        ((FILE, GENUINE), (ANALYST, FRAUD), FRAUD),
        ((ANALYST, FRAUD), (FILE, FRAUD), FRAUD),
        ((ANALYST, GENUINE), (FILE, GENUINE), GENUINE),
        ((FILE, FRAUD), (FILE, GENUINE), GENUINE),
        ((FILE, GENUINE), (FILE, FRAUD), FRAUD),
        ((ANALYST, FRAUD), (ANALYST, GENUINE), GENUINE),
        ((ANALYST, GENUINE), (ANALYST, FRAUD), FRAUD),
        ((SILENCE, GENUINE), (FILE, FRAUD), FRAUD),
        ((SILENCE, GENUINE), (ANALYST, FRAUD), FRAUD),
    ],
)
def test_of_two_labels_the_rule_says_which_is_in_force(
    earlier: tuple[str, bool], later: tuple[str, bool], expected: bool
) -> None:
    both = said((*earlier, 3), (*later, 5))
    assert truths(current(both)) == {"a": expected}
    # Nothing of what came later counted before, and both are still there.
    assert truths(current(both, at(4))) == {"a": earlier[1]}
    assert len(both) == 2


def test_fraud_stands_until_each_source_that_said_it_has_taken_it_back() -> None:
    history = said((ANALYST, FRAUD, 1), (FILE, FRAUD, 2), (ANALYST, GENUINE, 3), (FILE, GENUINE, 4), (FILE, FRAUD, 5))
    in_force = [truths(current(history, at(day + 0.5)))["a"] for day in range(1, 6)]
    assert in_force == [FRAUD, FRAUD, FRAUD, GENUINE, FRAUD]


def test_the_label_in_force_is_the_newest_that_says_so() -> None:
    confirmed = current(said((ANALYST, FRAUD, 1), (FILE, FRAUD, 2), (ANALYST, GENUINE, 3)))
    assert confirmed[["label_source", "label_known_at"]].to_numpy().tolist() == [[FILE, at(2)]]


def test_a_confirmed_fraud_is_one_event_and_a_contradiction_that_changes_nothing_is_none() -> None:
    history = pd.concat(
        [
            said((ANALYST, FRAUD, 1), (FILE, FRAUD, 2), (ANALYST, GENUINE, 3), (FILE, GENUINE, 4)),
            said((SILENCE, GENUINE, 2), (ANALYST, GENUINE, 2.5), (FILE, FRAUD, 3), of="b"),
            said((FILE, FRAUD, 5), of="c"),
        ]
    )
    found = changes(history.sample(frac=1, random_state=1))
    assert found[["transaction_id", "label_known_at", "is_fraud"]].to_numpy().tolist() == [
        ["a", at(1), True],
        ["b", at(2), False],
        ["b", at(3), True],
        ["a", at(4), False],
        ["c", at(5), True],
    ]
    assert found.dtypes.astype("str").to_dict() == LABEL_DTYPES


def test_a_label_is_repeated_within_the_memory_and_news_after_it() -> None:
    last = MEMORY.days + 1
    assert changes(said((ANALYST, FRAUD, 1), (FILE, FRAUD, last)))["label_known_at"].tolist() == [at(1)]
    assert changes(said((ANALYST, FRAUD, 1), (FILE, FRAUD, last + 0.5)))["label_known_at"].tolist() == [
        at(1),
        at(last + 0.5),
    ]


def test_changes_of_no_labels_are_none_with_their_types() -> None:
    assert changes(labels_stage.no_labels()).dtypes.astype("str").to_dict() == LABEL_DTYPES


def test_decisions_are_labels_unless_they_are_inconclusive() -> None:
    landed_decisions = from_decisions(
        decisions(("a", "confirmed_fraud", 3), ("b", "false_positive", 4), ("c", "inconclusive", 5))
    )
    assert landed_decisions.dtypes.equals(landed(("a", True, 3, None)).dtypes)
    found, unmatched = merge(landed_decisions, transactions(a=1, b=1, c=1), ANALYST)
    assert truths(found) == {"a": True, "b": False}
    assert found["label_known_at"].tolist() == [at(3), at(4)]
    assert set(found["label_source"]) == {"analyst"}
    assert unmatched.empty
    assert from_decisions(decisions()).dtypes.equals(nothing_landed().dtypes)


def test_a_day_has_the_labels_of_files_and_analysts_side_by_side() -> None:
    events = transactions(a=1, b=1, c=1)
    today = landed(("a", True, 3, None), ("b", True, 3.5, None))
    decided = from_decisions(
        decisions(("a", "false_positive", 3), ("c", "confirmed_fraud", 3.2), ("x", "false_positive", 3))
    )
    found, unmatched = of_day(today, decided, events, None, pd.Series([], dtype="str"), MATURITY)
    assert found[["transaction_id", "is_fraud", "label_source"]].to_numpy().tolist() == [
        ["a", False, "analyst"],
        ["a", True, "chargeback_file"],
        ["c", True, "analyst"],
        ["b", True, "chargeback_file"],
    ]
    assert unmatched[["transaction_id", "source_name", "row_number"]].to_numpy().tolist() == [["x", "analyst", 3]]


def test_what_an_analyst_decided_does_not_mature_unreported_and_what_stayed_open_does() -> None:
    events = transactions(decided=1, today=1.5, open=1.2)
    decided = from_decisions(decisions(("today", "false_positive", 8.1), ("open", "inconclusive", 8.1)))
    found, _ = of_day(nothing_landed(), decided, events, events, pd.Series(["decided"], dtype="str"), MATURITY)
    assert found[["transaction_id", "label_source"]].to_numpy().tolist() == [
        ["today", "analyst"],
        ["open", "unreported"],
    ]


SAID = st.tuples(st.sampled_from([FILE, ANALYST]), st.booleans(), st.integers(1, 8).map(float))


def by_rule(history: list[Said], before: float) -> bool | None:
    """What is in force, by the rule in words: a source speaks with its latest label, fraud stands if one says so."""
    known = [each for each in history if each[2] < before]
    if not known:
        return None
    says = {}
    for source in {source for source, _, _ in known}:
        newest = max(day for name, _, day in known if name == source)
        says[source] = any(is_fraud for name, is_fraud, day in known if (name, day) == (source, newest))
    return any(says.values())


@given(st.lists(SAID, max_size=6), st.sets(st.integers(1, 9), min_size=1, max_size=3))
@settings(deadline=None, max_examples=25)
def test_labels_in_force_and_their_changes_follow_the_rule_at_every_instant(
    history: list[Said], instants: set[int]
) -> None:
    labelled = said(*history)
    events = changes(labelled)
    for day in instants:
        expected = by_rule(history, day)
        assert truths(current(labelled, at(day))).get("a") == expected
        # The newest change is what is in force, and what comes later does not change the changes.
        known = labelled[labelled["label_known_at"] < at(day)]
        before = events[events["label_known_at"] < at(day)]
        assert (before["is_fraud"].iloc[-1] if len(before) else None) == expected
        pd.testing.assert_frame_equal(changes(known), before, check_index_type=False)
    steps = events["is_fraud"].tolist()
    assert all(one != other for one, other in pairwise(steps))


LONG_AGO = st.tuples(
    st.sampled_from([FILE, ANALYST, SILENCE]), st.booleans(), st.sampled_from([0, 1, 29, 30, 31, 45, 60]).map(float)
)


@given(st.lists(LONG_AGO, max_size=6), st.sampled_from([30, 31, 45, 60]))
@settings(deadline=None, max_examples=25)
def test_what_is_older_than_the_memory_does_not_decide_what_a_change_is(history: list[Said], since: int) -> None:
    labelled = said(*history)
    recent = labelled[labelled["label_known_at"] >= at(since) - MEMORY]
    found, expected = (
        each[each["label_known_at"] >= at(since)].reset_index(drop=True)
        for each in (changes(recent), changes(labelled))
    )
    pd.testing.assert_frame_equal(found, expected)
