"""Totals are exact, and nothing that is lost or added on the way goes unseen."""

from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core.reconciliation import Hop, Total, reconcile


@given(st.lists(st.decimals(-(10**9), 10**9, places=4), max_size=50))
def test_totals_of_money_are_exact(amounts: list[Decimal]) -> None:
    exact = sum(amounts, Decimal(0))
    total = Total.of(pd.Series([float(amount) for amount in amounts], dtype="float64"))
    assert total == Total.of_sum(len(amounts), exact)
    assert total == Total.of_text(pd.Series([str(amount) for amount in amounts], dtype="str"))


def test_what_is_no_amount_counts_as_a_row_only() -> None:
    amounts = pd.Series(["1.5", "x", None, "1,000", "inf", "1e300", " -0.5 "], dtype="str")
    assert Total.of_text(amounts) == Total(7, 10_000)
    assert Total.of_sum(0, None) == Total(0, 0)
    assert str(Total(2, 12_345)) == "2 rows, 1.2345"
    assert str(Total(2, 5) + Total(1, None)) == "3 rows"


@pytest.mark.parametrize(
    ("after", "lost"),
    [(Total(3, 100), None), (Total(2, 100), (1, 0.0)), (Total(4, 100), (1, 0.0)), (Total(3, 99), (0, 0.0001)),
     (Total(3, 10_100), (0, 1.0)), (Total(3, None), None)],
)  # fmt: skip
def test_a_hop_that_loses_or_adds_rows_or_money_is_found(after: Total, lost: tuple[int, float] | None) -> None:
    found = reconcile([Hop("a to b", Total(3, 100), after), Hop("b to c", Total(1, 1), Total(1, 1))])
    assert found.passed is (lost is None)
    assert (found.figures["lost_rows"], found.figures["lost_money"]) == (lost or (0, 0.0))
    assert "a to b" in found.figures
    assert ("b to c" in found.figures) is (lost is None), "only what is broken is shown"


def test_losses_that_cancel_each_other_out_are_found() -> None:
    hops = [Hop("a", Total(3, 5), Total(2, 6)), Hop("b", Total(2, 6), Total(3, 5))]
    assert not reconcile(hops).passed
