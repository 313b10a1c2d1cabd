"""How each variable was made, in words and as the code that ran.

The words are the docstring of the very function that made the value, with the parameters of the
specification; the code is that function's source. So the description cannot say anything else than what was
done. Source: Define-XML 2.1, MethodDef and FormalExpression.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from adapter.exports import exposure, record, study, trial_design
from adapter.exports.derive import GROUP_METHODS, ROW_METHODS
from adapter.exports.sequence import number_rows
from adapter.exports.spec import DatasetSpec, Variable

Function = Callable[..., Any]

# What a row is made from -> where that is worked out and told.
_MAKERS: dict[str, Any] = {
    "exposures": exposure,
    "criteria": record.Unmet,
    "arm elements": trial_design.ArmElement,
    "elements": study.Element,
    "planned visits": trial_design.PlannedVisit,
    "planned criteria": trial_design.PlannedCriterion,
    "parameters": trial_design.SummaryValue,
}
_PERSON = {
    "age": "Completed years at informed consent, else at enrolment; empty if the birth date allows two.",
    "reference_start": "Start of the reference period: first dose of study drug, or day of enrolment if the "
    "study configuration says so.",
    "reference_end": "End of the last exposure interval; empty while one is open.",
    "first_dose": "Start of the first exposure interval (EX).",
    "last_dose": "End of the last exposure interval (EX); empty while one is open.",
    "last_contact": "The last day, up to withdrawal or the day of the snapshot, on which anything was "
    "observed, taken, done or happened; the day of death if that is known.",
    "death": "Date of death as recorded.",
}
_ROLE = re.compile(r":[a-z]+:`~?(?:[\w.]+\.)?([\w.]+)`")
_DOUBLE = re.compile(r"``([^`]*)``")


class Method(msgspec.Struct, frozen=True):
    """How a value is made: ``text`` for a reader, ``code`` the source that ran ("" where there is none)."""

    text: str
    code: str = ""
    program: str = ""


def method_of(
    spec: DatasetSpec, variable: Variable, functions: Mapping[str, Function] | None = None
) -> Method:
    """The method of one variable; ``functions`` are those of another room of methods (ADaM) by name."""
    match variable.algorithm:
        case "constant":
            return Method(f"Constant: {variable.source['constant'] or 'empty'}.")
        case "copy":
            return Method(_copied(spec, str(variable.source["copy"])))
        case "map":
            return Method(mapping_text(spec, variable))
        case "sequence":
            parameters: dict[str, Any] = {"by": variable.source["sequence"]}
            return _called("sequence", number_rows, parameters)
        case _:
            name = str(variable.source["derive"])
            known = (functions or {}).get(name) or (
                ROW_METHODS.get(name) or GROUP_METHODS.get(name) or (None,)
            )[0]
            return _called(name, known, variable.parameters)


def mapping_text(spec: DatasetSpec, variable: Variable) -> str:
    """A table of words as text, in the table's own order."""
    table = spec.tables[variable.source["table"]]
    pairs = "; ".join(f"{word} = {term or '(empty)'}" for word, term in table.items())
    instead = variable.source.get("else")
    rest = f" Where the source says nothing: {_place(str(instead))}." if instead else ""
    return f"{_place(str(variable.source['map']))}, by this table: {pairs}. Any other word: empty.{rest}"


def _called(name: str, function: Function | None, parameters: Mapping[str, Any]) -> Method:
    told = "; ".join(f"{key}: {_shown(value)}" for key, value in parameters.items())
    with_these = f" Parameters: {told}." if told else ""
    if function is None:
        return Method(f"Method {name}.{with_these}")
    where = inspect.getmodule(function)
    program = f"{where.__name__ if where else ''}.{getattr(function, '__name__', name)}"
    return Method(plain(inspect.getdoc(function) or name) + with_these, inspect.getsource(function), program)


def _copied(spec: DatasetSpec, path: str) -> str:
    head, _, name = path.partition(".")
    if head == "person" and name in _PERSON:
        return _PERSON[name]
    maker = _MAKERS.get(spec.rows)
    told = f" {plain(inspect.getdoc(maker) or '')}" if head == "fact" and maker else ""
    return f"{_place(path)}.{told}"


def _place(path: str) -> str:
    head, _, name = path.partition(".")
    words = name.replace("_", " ")
    told = {
        "fact": f"As recorded in the hospital: {words}",
        "person": f"Of the subject: {words}",
        "study": f"Of the study configuration: {words}",
        "term": f"{name} of the term that the mapped concept has in the specification",
    }
    return told.get(head, path)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_shown(one)}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def plain(text: str) -> str:
    """A docstring as plain paragraphs: no line breaks inside them, no marks of reStructuredText."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return "\n\n".join(_DOUBLE.sub(r"\1", _ROLE.sub(r"\1", one)) for one in paragraphs)
