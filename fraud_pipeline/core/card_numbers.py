"""Card numbers where identifiers should be: found by their form, and withheld from everything that is kept."""

import re
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WITHHELD: Final = "card number withheld"
"""What stands where a card number was."""

_FORM: Final = r"\s*[0-9](?:[ -]?[0-9]){12,18}\s*"
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def digits_of(text: str) -> str:
    """Leave out blanks and hyphens between digits."""
    return "".join(filter(str.isdigit, text))


def is_card_number(text: str) -> bool:
    """Tell whether 13 to 19 digits, perhaps with blanks or hyphens, pass the check of ISO/IEC 7812-1 (Luhn)."""
    if not re.fullmatch(_FORM, text, re.ASCII):
        return False
    digits = [int(digit) for digit in reversed(digits_of(text))]
    return (sum(digits[::2]) + sum(_DOUBLED[digit] for digit in digits[1::2])) % 10 == 0


def are_card_numbers(ids: pd.Series) -> NDArray[np.bool_]:
    """Tell of each identifier whether :func:`is_card_number` holds; shape (n,), missing ones are none."""
    codes, names = pd.factorize(ids)
    distinct = pd.Series(names, dtype="str")
    candidates = distinct[distinct.str.fullmatch(_FORM)]
    # A last one, because that is where the code of a missing identifier points.
    found = np.zeros(len(distinct) + 1, dtype=bool)
    found[candidates.index] = [is_card_number(text) for text in candidates]
    return found[codes]


def withhold(ids: pd.Series) -> pd.Series:
    """Put `WITHHELD` in the place of card numbers."""
    return ids.mask(are_card_numbers(ids), WITHHELD)
