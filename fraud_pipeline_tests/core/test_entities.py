"""Numbers for identifiers, whatever holds them."""

import pandas as pd
import pytest
from pandas.api.extensions import ExtensionDtype

from fraud_pipeline.core.entities import Numbering
from fraud_pipeline.core.errors import InvalidDataError

IDS = pd.Series(["b", "a", "b", "c"], dtype="str", name="user_id")


@pytest.mark.parametrize("dtype", [pd.StringDtype(na_value=float("nan")), pd.CategoricalDtype()])
def test_numbers_follow_the_names(dtype: ExtensionDtype) -> None:
    numbers = Numbering(IDS.astype(dtype))
    assert [numbers.names[code] for code in numbers.codes] == IDS.tolist()
    assert len(numbers) == 3
    others = pd.Series(["c", "z", None, "b"], dtype="str").astype(dtype)
    assert [numbers.names[code] if code >= 0 else None for code in numbers.of(others)] == ["c", None, None, "b"]


def test_only_the_categories_in_use_are_numbered() -> None:
    numbers = Numbering(IDS.astype("category")[1:2])
    assert (numbers.codes.tolist(), list(numbers.names)) == ([0], ["a"])


def test_nothing_has_no_numbers() -> None:
    numbers = Numbering(IDS[:0])
    assert len(numbers) == len(numbers.codes) == 0
    assert numbers.of(IDS).tolist() == [-1] * 4


def test_a_missing_identifier_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="user_id is missing in row 2"):
        Numbering(pd.Series(["a", "b", None], dtype="str", name="user_id"))
