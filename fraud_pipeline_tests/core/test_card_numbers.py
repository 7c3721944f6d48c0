import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.core import card_numbers

TEST_CARD = "4111111111111111"


@pytest.mark.parametrize(
    "text",
    [
        TEST_CARD,
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        " 5500005555555559 ",
        "378282246310005",
        "6304000000000000",
    ],
)
def test_a_number_of_the_form_of_a_card_with_a_valid_check_digit_is_one(text: str) -> None:
    assert card_numbers.is_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "411111111111",
        "4" * 20,
        "u00042",
        "",
        "4111  1111 1111 1111",
        "٤١١١١١١١١١١١١١١١",
        "tok_4111111111111111",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert not card_numbers.is_card_number(text)


@given(st.from_regex(r"[0-9]{12,18}", fullmatch=True))
def test_exactly_one_last_digit_makes_digits_a_card_number(digits: str) -> None:
    assert sum(card_numbers.is_card_number(f"{digits}{last}") for last in range(10)) == 1


def test_of_a_column_card_numbers_are_withheld_and_the_rest_stays() -> None:
    ids = pd.Series(["u1", TEST_CARD, None, "u1", TEST_CARD, "4111111111111112"], dtype="str")
    np.testing.assert_array_equal(card_numbers.are_card_numbers(ids), [False, True, False, False, True, False])
    found = card_numbers.withhold(ids)
    assert found.dtype == ids.dtype
    expected = ["u1", card_numbers.WITHHELD, None, "u1", card_numbers.WITHHELD, "4111111111111112"]
    pd.testing.assert_series_equal(found, pd.Series(expected, dtype="str"))
    assert card_numbers.withhold(ids[:0]).empty
