"""Rules of the data and between datasets: days, results and flags; subjects, visits, arms, epochs, links.

Sources: SDTMIG 3.4, sections 4.1 (keys), 4.4 (timing), 4.5 (results), 5 (DM, SE, SV), 7 (trial design), 8
(relations).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from adapter.exports.conformance import Problem, Rows, where
from adapter.exports.dataset import Cell, Dataset
from adapter.exports.derive import day_of, study_day, unscheduled_name
from adapter.exports.journey import UNPLANNED

Tables: TypeAlias = dict[str, Rows]
Records: TypeAlias = Iterable[dict[str, Cell]]
_DAYS = (("DY", "DTC"), ("STDY", "STDTC"), ("ENDY", "ENDTC"))
_ENDS = (("STDTC", "ENDTC"), ("DTC", "ENDTC"))
_TEST = ("TESTCD", "SPEC", "BDAGNT", "METHOD")
_CONTEXT = ("VISITNUM", "VISIT", "VISITDY")


def check_agreement(datasets: Sequence[Dataset]) -> Iterator[Problem]:
    """Everything that takes more than one cell to see."""
    tables = {one.name: Rows(one) for one in datasets}
    people = {str(row.get("USUBJID")): row for row in tables.get("DM", [])}
    for name, rows in tables.items():
        yield from _days(name, rows, people)
        yield from _results(name, rows)
        yield from _flags(name, rows, people)
        yield from _subjects(name, rows, people)
    yield from _visits(tables)
    yield from _arms(tables)
    yield from _elements(tables, people)
    yield from _criteria(tables)
    yield from _links(tables)
    yield from _demography(tables, people)


def _days(name: str, rows: Records, people: dict[str, dict[str, Cell]]) -> Iterator[Problem]:
    """Study days recomputed from the dates; ends not before starts; nothing after participation."""
    for row in rows:
        subject = people.get(str(row.get("USUBJID")), {})
        reference = _known_day(subject.get("RFSTDTC"))
        for day, at in _DAYS:
            if f"{name}{day}" in row:
                expected = study_day(_known_day(row.get(f"{name}{at}")), reference)
                if row[f"{name}{day}"] != expected:
                    yield Problem("STUDY_DAY", name, f"{name}{day}", where(row, name))
        for start, end in _ENDS:
            first, last = str(row.get(f"{name}{start}") or ""), str(row.get(f"{name}{end}") or "")
            shared = min(len(first), len(last))
            if shared and last[:shared] < first[:shared]:
                yield Problem("END_BEFORE_START", name, f"{name}{end}", where(row, name))
        leaving = str(subject.get("RFPENDTC") or "")
        for at in ("STDTC", "DTC"):
            text = str(row.get(f"{name}{at}") or "")[: len(leaving)]
            if name in ("AE", "DS", "SE", "SV") and text and leaving and text > leaving:
                yield Problem("AFTER_PARTICIPATION", name, f"{name}{at}", where(row, name))


def _results(name: str, rows: Rows) -> Iterator[Problem]:
    for row in rows if f"{name}STRESC" in rows.names else ():
        text, number = row[f"{name}STRESC"], row.get(f"{name}STRESN")
        original, unit = row.get(f"{name}ORRES"), row.get(f"{name}STRESU")
        if number is not None and (not isinstance(text, str) or not _same(text, number)):
            yield Problem("RESULT_NUMBER", name, f"{name}STRESN", where(row, name))
        if isinstance(original, str) and original[:1] in "<>" and number is not None:
            yield Problem("RESULT_NUMBER", name, f"{name}ORRES", where(row, name))
        if f"{name}STRESU" in row and number is not None and not unit:
            yield Problem("RESULT_UNIT", name, f"{name}STRESU", where(row, name))
        if row.get(f"{name}STAT") and (original or text):
            yield Problem("TEST_NOT_DONE", name, f"{name}STAT", where(row, name))


def _same(text: str, number: Cell) -> bool:
    try:
        return Fraction(text) == Fraction(str(number))
    except ValueError:
        return False


def _flags(name: str, rows: Rows, people: dict[str, dict[str, Cell]]) -> Iterator[Problem]:
    flag = f"{name}LOBXFL"
    tests: Counter[tuple[Cell, ...]] = Counter()
    for row in rows if flag in rows.names else ():
        if row.get(flag) != "Y":
            continue
        group = (
            row.get("USUBJID"),
            *(row.get(f"{name}{part}") for part in ("TESTCD", "SPEC", "BDAGNT", "METHOD")),
        )
        tests[group] += 1
        dose = str(people.get(str(row.get("USUBJID")), {}).get("RFXSTDTC") or "")
        moment = str(row.get(f"{name}DTC") or "")
        shared = min(len(dose), len(moment))
        if tests[group] > 1 or shared < 10 or moment[:shared] > dose[:shared]:
            yield Problem("LAST_BEFORE_EXPOSURE", name, flag, where(row, name))


def _subjects(name: str, rows: Records, people: dict[str, dict[str, Cell]]) -> Iterator[Problem]:
    for row in rows:
        if "USUBJID" in row and row["USUBJID"] not in people:
            yield Problem("SUBJECT_UNKNOWN", name, "USUBJID", where(row, name))
        if name == "DM" and not str(row.get("USUBJID")).endswith(f"-{row.get('SITEID')}-{row.get('SUBJID')}"):
            yield Problem("SUBJECT_UNKNOWN", name, "SUBJID", where(row, name))


def _visits(tables: Tables) -> Iterator[Problem]:
    """TV plans what the others have, and SV has attended what findings say was seen."""
    planned = {row.get("VISITNUM"): row for row in tables.get("TV", [])}
    attended = {
        (row.get("USUBJID"), row.get("VISITNUM"))
        for row in tables.get("SV", [])
        if row.get("SVOCCUR") == "Y" or not row.get("SVPRESP")
    }
    for name, rows in tables.items():
        for row in rows if name != "TV" else ():
            number = row.get("VISITNUM")
            if number is None:
                continue
            plan = planned.get(number, {}) if not is_unscheduled(number) else _unscheduled(number)
            wrong = next((one for one in _CONTEXT if one in row and row[one] != plan.get(one)), "")
            if wrong:
                yield Problem("VISIT_UNPLANNED", name, wrong, where(row, name))
            if name != "SV" and (row.get("USUBJID"), number) not in attended:
                yield Problem("VISIT_NOT_ATTENDED", name, "VISITNUM", where(row, name))
    for row in tables.get("SV", []):
        planned_here = not is_unscheduled(row.get("VISITNUM"))
        if bool(row.get("SVPRESP")) is not planned_here or bool(row.get("SVUPDES")) is planned_here:
            yield Problem("VISIT_UNPLANNED", "SV", "SVPRESP", where(row, "SV"))
        if bool(row.get("SVSTDTC")) is not (row.get("SVOCCUR") == "Y" or not planned_here):
            yield Problem("VISIT_NOT_ATTENDED", "SV", "SVOCCUR", where(row, "SV"))


def is_unscheduled(number: Cell) -> bool:
    """Whether a visit number lies between planned ones."""
    return isinstance(number, Fraction | Decimal) and Fraction(number).denominator != 1


def _unscheduled(number: Cell) -> dict[str, Cell]:
    """What a record of an unscheduled visit has to say of it."""
    name = unscheduled_name(Fraction(number)) if isinstance(number, Fraction | Decimal) else ""
    return {"VISITNUM": number, "VISIT": name, "VISITDY": None}


def _arms(tables: Tables) -> Iterator[Problem]:
    arms = {(row.get("ARMCD"), row.get("ARM")) for row in tables.get("TA", [])}
    for row in tables.get("DM", []):
        for code, text in (("ARMCD", "ARM"), ("ACTARMCD", "ACTARM")):
            if row.get(code) and (row.get(code), row.get(text)) not in arms:
                yield Problem("ARM_UNPLANNED", "DM", code, where(row, "DM"))
        if bool(row.get("ARMCD") and row.get("ACTARMCD")) is bool(row.get("ARMNRS")):
            yield Problem("ARM_UNPLANNED", "DM", "ARMNRS", where(row, "DM"))


def _elements(tables: Tables, people: dict[str, dict[str, Cell]]) -> Iterator[Problem]:
    """TA and TE, SE and TA, SE in its order; EPOCH of a day is that of the element of the day."""
    names = {(row.get("ETCD"), row.get("ELEMENT")) for row in tables.get("TE", [])}
    places = {tuple(row.get(one) for one in ("TAETORD", "ETCD", "EPOCH")) for row in tables.get("TA", [])}
    epochs = {row.get("EPOCH") for row in tables.get("TA", [])}
    for name in ("TA", "SE"):
        for row in tables.get(name, []):
            if row.get("ETCD") != UNPLANNED and (row.get("ETCD"), row.get("ELEMENT")) not in names:
                yield Problem("ELEMENT_UNKNOWN", name, "ETCD", where(row, name))
    lived: dict[str, list[dict[str, Cell]]] = {}
    for row in tables.get("SE", []):
        place = tuple(row.get(one) for one in ("TAETORD", "ETCD", "EPOCH"))
        if row.get("TAETORD") is not None and place not in places:
            yield Problem("ELEMENT_UNKNOWN", "SE", "TAETORD", where(row, "SE"))
        lived.setdefault(str(row.get("USUBJID")), []).append(row)
    for rows in lived.values():
        rows.sort(key=lambda row: str(row.get("SESTDTC")))
        for earlier, later in pairwise(rows):
            if str(earlier.get("SEENDTC") or "") != str(later.get("SESTDTC") or ""):
                yield Problem("ELEMENTS_OVERLAP", "SE", "SEENDTC", where(earlier, "SE"))
    for name, records in tables.items():
        for row in records if name not in ("TA", "TE", "SE") else ():
            epoch = row.get("EPOCH")
            if not epoch:
                continue
            at = row.get(f"{name}STDTC") or row.get(f"{name}DTC")
            wrong = lived and not _fits(str(epoch), at, lived.get(str(row.get("USUBJID")), []))
            if epoch not in epochs or wrong:
                yield Problem("EPOCH_UNKNOWN", name, "EPOCH", where(row, name))


def _fits(epoch: str, at: Cell, elements: Records) -> bool:
    """Whether an element of that epoch holds the day; one without an end still runs."""
    day = str(at or "")[:10]
    if len(day) < 10:
        return False
    return any(
        str(row.get("SESTDTC"))[:10] <= day
        and (not row.get("SEENDTC") or day <= str(row.get("SEENDTC"))[:10])
        for row in elements
        if row.get("EPOCH") == epoch
    )


def _criteria(tables: Tables) -> Iterator[Problem]:
    planned = {tuple(row.get(one) for one in ("IETESTCD", "IETEST", "IECAT")) for row in tables.get("TI", [])}
    for row in tables.get("IE", []):
        if tuple(row.get(one) for one in ("IETESTCD", "IETEST", "IECAT")) not in planned:
            yield Problem("CRITERION_UNKNOWN", "IE", "IETESTCD", where(row, "IE"))
        unmet = "N" if row.get("IECAT") == "INCLUSION" else "Y"
        if row.get("IEORRES") != unmet or row.get("IESTRESC") != unmet:
            yield Problem("CRITERION_UNKNOWN", "IE", "IEORRES", where(row, "IE"))


def _links(tables: Tables) -> Iterator[Problem]:
    keys = {
        (name, row.get("USUBJID"), f"{name}SEQ", str(row.get(f"{name}SEQ")))
        for name, rows in tables.items()
        for row in rows
        if f"{name}SEQ" in row
    }
    members = Counter((row.get("USUBJID"), row.get("RELID")) for row in tables.get("RELREC", []))
    for name, rows in tables.items():
        if name != "RELREC" and not name.startswith("SUPP"):
            continue
        rule = "RELATION_DANGLING" if name == "RELREC" else "QUALIFIER_DANGLING"
        for row in rows:
            target = tuple(row.get(one) for one in ("RDOMAIN", "USUBJID", "IDVAR", "IDVARVAL"))
            lonely = name == "RELREC" and members[(row.get("USUBJID"), row.get("RELID"))] < 2
            if target not in keys or lonely or (name != "RELREC" and name != f"SUPP{row.get('RDOMAIN')}"):
                yield Problem(rule, name, "IDVARVAL", where(row, name))


def _demography(tables: Tables, people: dict[str, dict[str, Cell]]) -> Iterator[Problem]:
    doses: dict[str, list[str]] = {}
    for row in tables.get("EX", []):
        doses.setdefault(str(row.get("USUBJID")), []).append(str(row.get("EXSTDTC") or ""))
    deaths = {row.get("USUBJID") for row in tables.get("DS", []) if row.get("DSDECOD") == "DEATH"}
    for usubjid, row in people.items():
        first = min(doses.get(usubjid, [""]))
        if "EX" in tables and first != str(row.get("RFXSTDTC") or ""):
            yield Problem("EXPOSURE_DATES", "DM", "RFXSTDTC", where(row, "DM"))
        flagged = row.get("DTHFL") == "Y"
        if (row.get("DTHDTC") and not flagged) or ("DS" in tables and flagged is not (usubjid in deaths)):
            yield Problem("DEATH", "DM", "DTHFL", where(row, "DM"))


def _known_day(cell: Cell) -> date | None:
    try:
        return day_of(cell if isinstance(cell, str) else None)
    except ValueError:
        return None
