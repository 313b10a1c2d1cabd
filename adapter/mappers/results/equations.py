"""Estimated glomerular filtration rate from serum creatinine, in decimal arithmetic.

CKD-EPI 2009: Levey AS et al., Ann Intern Med 2009;150:604-12, without the race coefficient.
CKD-EPI 2021: Inker LA et al., N Engl J Med 2021;385:1737-49. Both as printed by the National Kidney
Foundation (https://www.kidney.org/professionals/gfr_calculator/formula). Age is in completed years on the
day of the sample; both equations are for adults.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.mappers.remembered import remembered
from adapter.model.quantity import Interval

Sex = Literal["male", "female"]

UMOL_L_PER_MG_DL = Decimal("88.4")
ADULT_AGE = 18

# Powers are taken with 50 digits and given with 30: the same on every platform, and far past any threshold.
_WORKING = Context(prec=50)
_GIVEN = Context(prec=30)


class Equation(msgspec.Struct, frozen=True, cache_hash=True):
    """``scale * min(Scr/k, 1)**low * max(Scr/k, 1)**high * per_year**age * (woman if female)``."""

    name: str
    scale: Decimal
    low_female: Decimal
    low_male: Decimal
    high: Decimal
    per_year: Decimal
    woman: Decimal


CKD_EPI_2009 = Equation(
    "CKD-EPI 2009",
    Decimal(141),
    Decimal("-0.329"),
    Decimal("-0.411"),
    Decimal("-1.209"),
    Decimal("0.993"),
    Decimal("1.018"),
)
CKD_EPI_2021 = Equation(
    "CKD-EPI 2021",
    Decimal(142),
    Decimal("-0.241"),
    Decimal("-0.302"),
    Decimal("-1.200"),
    Decimal("0.9938"),
    Decimal("1.012"),
)
EQUATIONS = {"ckd_epi_2009": CKD_EPI_2009, "ckd_epi_2021": CKD_EPI_2021}

_KNEE = {"female": Decimal("0.7"), "male": Decimal("0.9")}


def estimate(equation: Equation, creatinine_umol_l: Fraction, sex: Sex, age: int) -> Fraction:
    """mL/min/1.73 m2 for one positive creatinine; 30 significant digits, never rounded further.

    >>> float(round(estimate(CKD_EPI_2009, Fraction(80), "male", 52), 3))
    97.204
    """
    if creatinine_umol_l <= 0:
        raise ValueError("creatinine must be positive")
    if age < ADULT_AGE:
        raise ValueError("CKD-EPI is for adults")
    result = _WORKING.multiply(_ageless(equation, creatinine_umol_l, sex), _ageing(equation, age))
    if sex == "female":
        result = _WORKING.multiply(result, equation.woman)
    return Fraction(_GIVEN.plus(result))


@remembered
def _ageless(equation: Equation, creatinine_umol_l: Fraction, sex: Sex) -> Decimal:
    micromolar = _WORKING.divide(Decimal(creatinine_umol_l.numerator), Decimal(creatinine_umol_l.denominator))
    ratio = _WORKING.divide(_WORKING.divide(micromolar, UMOL_L_PER_MG_DL), _KNEE[sex])
    exponent = equation.high
    if ratio < 1:
        exponent = equation.low_female if sex == "female" else equation.low_male
    return _WORKING.multiply(equation.scale, _WORKING.power(ratio, exponent))


@remembered
def _ageing(equation: Equation, age: int) -> Decimal:
    return _WORKING.power(equation.per_year, Decimal(age))


def estimate_interval(
    equation: Equation, creatinine: Interval, sex: Sex, youngest: int, oldest: int
) -> Interval:
    """What a creatinine with a comparator, and an age known to within a year, say about eGFR.

    The equations fall with creatinine and with age, so the bounds change places; a creatinine below some
    limit leaves eGFR without an upper bound.
    """
    low, high = creatinine.high, creatinine.low
    least = None if low is None else estimate(equation, low, sex, oldest)
    if low == high and youngest == oldest:
        most = least
    else:
        most = None if high is None or high <= 0 else estimate(equation, high, sex, youngest)
    return Interval(
        least,
        most,
        creatinine.high_closed,
        creatinine.low_closed,
    )
