"""Results that arrive as words: ``３.５ ｇ／Ｌ``, ``>1500``, ``26.1↓``, ``0.05(阴性)``, ``1:32``.

Reading a text never guesses: it gives a number with its comparator, a known answer, a titre, or nothing
(flag UNPARSED_TEXT). Normalisation is NFKC, so full-width digits and both micro signs become one; raised
digits become ``^9`` first, because NFKC would turn 10⁹ into 109.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import msgspec

from adapter.mappers import r4
from adapter.model.quantity import Comparator, Interval

_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")

# A thousands group never starts with 0: "0,150" is a decimal comma somewhere, and is not read.
_PLAIN = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]{1,40})(?:\.[0-9]{1,40})?"
_POWER = r"(?:[eE][+-]?[0-9]{1,2}|\s*[x×*]\s*10\^[+-]?[0-9]{1,2})?"
_NUMBER = rf"[+-]?{_PLAIN}{_POWER}"
_COMPARATORS: dict[str, Comparator] = {
    "<": "<", "<=": "<=", "=<": "<=", "≤": "<=", "≦": "<=", "⩽": "<=", "小于等于": "<=", "不超过": "<=",
    "不大于": "<=", "小于": "<", "低于": "<", "less than": "<", ">": ">", ">=": ">=", "=>": ">=", "≥": ">=",
    "≧": ">=", "⩾": ">=", "大于等于": ">=", "不低于": ">=", "不小于": ">=", "大于": ">", "高于": ">",
    "greater than": ">",
}  # fmt: skip
_COMPARATOR = "|".join(re.escape(text) for text in sorted(_COMPARATORS, key=len, reverse=True))
_APPROXIMATE = r"大约|约|近|~|≈|ca\.?|circa|approx\.?|about"
_DASH = r"\s*(?:-{1,2}|–|—|~|至|到)\s*"

_MEASURED = re.compile(
    rf"(?P<approximate>{_APPROXIMATE})?\s*(?P<comparator>{_COMPARATOR})?\s*(?P<number>{_NUMBER})"
    rf"(?:{_DASH}(?P<upper>{_PLAIN}))?(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_TITRE = re.compile(
    rf"(?P<comparator>{_COMPARATOR})?\s*1\s*:\s*(?P<dilution>[0-9]{{1,7}})(?P<rest>.*)", re.DOTALL
)
_ANSWER_FIRST = re.compile(
    r"(?P<answer>[^0-9<>≤≥]*[^0-9<>≤≥\s(\[:,;])[\s(\[:,;]+(?P<measured>.*[0-9].*?)[)\]]?"
)
_ARROWS = re.compile(r"[↑↓⇑⇓▲▼△▽*!]+")
_LETTER_MARK = re.compile(r"(?:^|\s)\(?(?:HH|LL|H|L)\)?(?=$|\s)")
_UNITLIKE = re.compile(r"[^\W\d_][^\s,;:]{0,19}|[%\[{/'][^\s,;:]{0,19}")
_PLUSES = re.compile(r"\+{1,4}|[1-4]\+|\+[1-4]|\+-|-|±")
_BRACKET = re.compile(r"\(([^()]*)\)\s*$")


class TextResult(msgspec.Struct, frozen=True, gc=False):
    """What a text says: any of a number, an answer and a titre; nothing at all if it could not be read.

    ``unit`` is what stood behind the number. ``dilution`` is 32 for ``1:32``. ``answer`` is the meaning
    returned by the caller's table.
    """

    interval: Interval | None = None
    unit: str = ""
    answer: str = ""
    dilution: int | None = None
    comparator: Comparator = ""
    flags: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return self.interval is None and not self.answer and self.dilution is None


def normalise(text: str) -> str:
    """NFKC without losing powers, one kind of minus and of white space, trimmed.

    >>> normalise(" ３．５ ｇ／Ｌ ")
    '3.5 g/L'
    >>> normalise("1.2×10⁹")
    '1.2×10^9'
    """
    raised = _RAISED_RUN.sub(lambda run: "^" + run.group().translate(_RAISED), text)
    folded = unicodedata.normalize("NFKC", raised).replace("−", "-").replace("μ", "u").replace("µ", "u")
    return " ".join(folded.split())


def comparator_of(text: str | None) -> Comparator | None:
    """FHIR's comparator, or the sign a hospital wrote for it; None if it is no comparator at all."""
    if not text:
        return ""
    return _COMPARATORS.get(normalise(text).casefold())


def number_of(text: str) -> Fraction | None:
    """One plain number, exact: ``1,200``, ``1.2E+3``, ``1.2×10^3``; None for anything else."""
    clean = normalise(text)
    if not re.fullmatch(_NUMBER, clean):
        return None
    mantissa, _, power = re.sub(r"\s*[x×*]\s*10\^", "E", clean).replace(",", "").upper().partition("E")
    return r4.usable(Decimal(f"{mantissa}E{power}" if power else mantissa))


def read_text(
    text: str,
    *,
    answer: Callable[[str], str],
    is_unit: Callable[[str], bool],
    coded: bool = False,
) -> TextResult:
    """Read one result text.

    ``answer`` gives the meaning of known words ("" otherwise). ``is_unit`` says whether a word is a unit of
    this test, so that the L of ``1.94 L`` is a litre and not "low". ``coded`` tests answer with words that
    may look like numbers (stage ``2-3``); for others only plus signs are words before they are numbers.
    """
    clean = normalise(text)
    if not clean:
        return TextResult()
    if (coded or _PLUSES.fullmatch(clean)) and (known := answer(clean)):
        return TextResult(answer=known)
    if titre := _TITRE.fullmatch(clean):
        return _titre(titre, answer)
    if measured := _MEASURED.fullmatch(clean):
        return _measured(measured, answer, is_unit)
    if (first := _ANSWER_FIRST.fullmatch(clean)) and (meaning := answer(first["answer"].strip())):
        inner = _MEASURED.fullmatch(first["measured"].strip())
        read = _measured(inner, answer, is_unit) if inner else TextResult()
        if not read.empty and read.answer in ("", meaning):
            return msgspec.structs.replace(read, answer=meaning)
    return TextResult(answer=answer(clean))


def _titre(found: re.Match[str], answer: Callable[[str], str]) -> TextResult:
    rest = _ARROWS.sub("", found["rest"]).strip(" ()[]")
    meaning = answer(rest) if rest else ""
    if rest and not meaning:
        return TextResult()
    sign = _COMPARATORS[found["comparator"].casefold()] if found["comparator"] else ""
    return TextResult(answer=meaning, dilution=int(found["dilution"]), comparator=sign)


def _measured(
    found: re.Match[str], answer: Callable[[str], str], is_unit: Callable[[str], bool]
) -> TextResult:
    number = number_of(found["number"])
    if number is None:
        return TextResult()
    sign: Comparator = _COMPARATORS[found["comparator"].casefold()] if found["comparator"] else ""
    interval = Interval.reported(number, sign)
    if found["upper"]:
        upper = number_of(found["upper"])
        if sign or upper is None or upper < number:
            return TextResult()
        interval = Interval(number, upper)
    tail = _tail(found["rest"], answer, is_unit)
    if tail is None:
        return TextResult()
    unit, meaning = tail
    flags = ("APPROX_TEXT",) if found["approximate"] else ()
    return TextResult(interval, unit, meaning, None, sign, flags)


def _tail(rest: str, answer: Callable[[str], str], is_unit: Callable[[str], bool]) -> tuple[str, str] | None:
    """The unit and the answer behind a number; None if there is something else, which is not ignored."""
    rest = _ARROWS.sub(" ", rest).strip()
    meaning = ""
    if (bracket := _BRACKET.search(rest)) and not is_unit(rest):
        inside = bracket[1].strip()
        meaning = answer(inside)
        if not meaning and inside.upper() not in ("", "H", "L", "HH", "LL") and not is_unit(inside):
            return None
        outside = rest[: bracket.start()].strip()
        rest = outside if meaning or not is_unit(inside) else f"{outside} {inside}".strip()
    if not rest or is_unit(rest):
        return rest, meaning
    bare = " ".join(_LETTER_MARK.sub(" ", rest).split())
    if not bare or is_unit(bare):
        return bare, meaning
    head, _, last = bare.rpartition(" ")
    if not meaning and (spoken := answer(last if is_unit(head) or not head else bare)):
        return (head if is_unit(head) else ""), spoken
    # An unknown unit is still a unit: the caller refuses it by name. Words of a sentence are not.
    return (bare, meaning) if _UNITLIKE.fullmatch(bare) else None
