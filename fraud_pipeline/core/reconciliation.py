"""Rows and money of a day from one place to the next: as many come out as went in."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core import transactions
from fraud_pipeline.core.data_quality import Figure, Finding

_UNITS: Final = 10_000
"""Money is counted in ten-thousandths, so that totals are exact."""


@dataclass(frozen=True)
class Total:
    """Rows and money of a day in one place.

    Parameters
    ----------
    rows : int
    units : int or None
        Money in ten-thousandths; None where the place holds none.
    """

    rows: int
    units: int | None

    @classmethod
    def of(cls, amounts: pd.Series) -> "Total":
        """Add up amounts; those that are missing or beyond ``transactions.MAX_AMOUNT`` count as rows only."""
        readable = amounts[amounts.abs() <= transactions.MAX_AMOUNT].to_numpy(dtype=np.float64)
        return cls(len(amounts), int(np.rint(readable * _UNITS).astype(np.int64).sum()))

    @classmethod
    def of_sum(cls, rows: int, amount: Decimal | None) -> "Total":
        """Take a sum that a database made; None is that of no row."""
        return cls(rows, int(((amount or Decimal(0)) * _UNITS).to_integral_value()))

    @classmethod
    def of_text(cls, amounts: pd.Series) -> "Total":
        """Add up amounts as received; what is no number counts as a row only."""
        return cls.of(transactions.parse_amounts(amounts))

    def __add__(self, other: "Total") -> "Total":
        if self.units is None or other.units is None:
            return Total(self.rows + other.rows, None)
        return Total(self.rows + other.rows, self.units + other.units)

    def __str__(self) -> str:
        return f"{self.rows} rows" + ("" if self.units is None else f", {Decimal(self.units) / _UNITS:.4f}")


@dataclass(frozen=True)
class Hop:
    """What went in and what came out on the way from one place to the next."""

    name: str
    before: Total
    after: Total

    @property
    def lost_rows(self) -> int:
        """Rows in less rows out; negative if rows were added."""
        return self.before.rows - self.after.rows

    @property
    def lost_units(self) -> int:
        """Money in less money out; 0 where one side holds none."""
        if self.before.units is None or self.after.units is None:
            return 0
        return self.before.units - self.after.units


def reconcile(hops: Sequence[Hop]) -> Finding:
    """Demand that on each hop as many rows and as much money come out as went in."""
    broken = [hop for hop in hops if hop.lost_rows or hop.lost_units]
    figures: dict[str, Figure] = {
        "lost_rows": sum(abs(hop.lost_rows) for hop in hops),
        "lost_money": float(Decimal(sum(abs(hop.lost_units) for hop in hops)) / _UNITS),
        "limit": 0,
    }
    figures |= {hop.name: f"{hop.before} in, {hop.after} out" for hop in broken or hops}
    return Finding(not broken, figures)
