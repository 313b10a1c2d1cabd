"""What may stand behind each word of the vocabulary, as JSON Schema.

Most words have the same shape wherever they stand (:data:`WORDS`); the others are listed with their place.
``OBJECTS`` are the places that are mappings, ``VALUES`` those that list the values of a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.protocol import words

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name.replace(' ', '-')}"}


def one_of(place: str) -> Schema:
    return {"enum": list(words.PLACES[place])}


def some(shape: Schema) -> Schema:
    """One of them, or a list of them."""
    return {"anyOf": [shape, listed(shape)]}


def listed(shape: Schema) -> Schema:
    return {"type": "array", "items": shape, "minItems": 1}


def named(shape: Schema) -> Schema:
    return {"type": "object", "additionalProperties": shape}


def text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def exactly_one(names: tuple[str, ...]) -> Schema:
    return {"oneOf": [{"required": [name]} for name in names]}


def at_least_one(names: tuple[str, ...]) -> Schema:
    return {"anyOf": [{"required": [name]} for name in names]}


_UNITS = "|".join(unit for unit in words.PLACES["time unit"] if not unit.startswith("hour"))
ANY_TEXT: Schema = {"type": "string"}
SCALAR: Schema = {"type": ["string", "number", "boolean"]}
BOOLEAN: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer"}
TRUE: Schema = {"const": True}
TEXT: Schema = {"anyOf": [ANY_TEXT, ref("text")]}
NAME = text(r"[A-Za-z_]\w*")
MOMENT = text(rf"([A-Za-z_]\w*|\d{{4}}-\d{{2}}-\d{{2}})(\s*[+-]\s+\d+\s+({_UNITS}))?")
_STEP = r"(\d+\s+(months?|years?)(\s+[+-]\s+\d+\s+(days?|weeks?))?|\d+\s+(days?|weeks?))"
OFFSET: Schema = {"type": ["integer", "string"], "pattern": rf"^-?(\d+|{_STEP})$"}
DURATION = text(rf"\d+\s+({_UNITS})")
DAYS = text(r"\d+\s+(days?|weeks?)")
HOURS = text(r"\d+\s+(hours?|days?)")
APART = text(r"\d+\s+(hours?|days?|weeks?)")
YEARS = text(r"\d+\s+years?")
CHANGE = text(r"[+-]?[\d.]+\s+\S.*")
PERCENT = text(r"[+-]?[\d.]+\s+%")
_RELATIVE = rf"[\d.]+\s*(x|% of)\s+(reading:\w+|{'|'.join(words.LIMITS)})"
AMOUNT: Schema = {"type": ["string", "number"], "pattern": rf"^({_RELATIVE}|[+-]?[\d.]+(\s+\S.*)?)$"}
CONDITION = ref("condition")
DRUGS = some(ANY_TEXT)
ENDS: Schema = {"type": "array", "items": AMOUNT, "minItems": 2, "maxItems": 2}
HOUR_ENDS: Schema = {"type": "array", "items": HOURS, "minItems": 2, "maxItems": 2}
PERIOD: Schema = {"dependentSchemas": {"within": {"not": at_least_one(("from", "to"))}}}
TESTS = tuple(word for word in words.READING_TESTS if word != "words")

WORDS: Mapping[str, Schema] = {
    # texts and names
    "id": ANY_TEXT,
    "source": ANY_TEXT,
    "because": ANY_TEXT,
    "title": TEXT,
    "name": ANY_TEXT,
    "text": TEXT,
    "settles": TEXT,
    "code": some(SCALAR),
    "method": some(ANY_TEXT),
    "measured_by": some(ANY_TEXT),
    "category": ANY_TEXT,
    "having": named(SCALAR),
    "lacking": named(SCALAR),
    "words": named(SCALAR),
    "support": some(NAME),
    "attested": ANY_TEXT,
    "series": some(ANY_TEXT),
    "same": one_of("same"),
    # concepts and drugs
    "finding": some(NAME),
    "event": some(NAME),
    "drug": DRUGS,
    "role": DRUGS,
    "class": DRUGS,
    "other_than": DRUGS,
    "exposure": ref("exposure"),
    # days
    "within": NAME,
    "from": MOMENT,
    "to": MOMENT,
    "near": MOMENT,
    "at": MOMENT,
    "before": MOMENT,
    "on_or_before": MOMENT,
    "after": MOMENT,
    "on_or_after": MOMENT,
    "since": MOMENT,
    "until": MOMENT,
    "margin": DAYS,
    # amounts
    **dict.fromkeys(words.COMPARISONS, AMOUNT),
    "between": ENDS,
    "exists": TRUE,
    "is": some(one_of("answer")),
    "reaching": ref("reaching"),
    # values
    "take": one_of("take"),
    "edge": one_of("edge"),
    "presence": some(one_of("presence")),
    "timing": one_of("timing"),
    "if_none": one_of("if_none"),
    "kind": some(one_of("kind")),
    "severity": one_of("severity"),
    "direction": one_of("direction"),
    **dict.fromkeys(("systemic", "single_day", "narrower", "review", "pending"), BOOLEAN),
    "of_at_least": WHOLE,
    "last": WHOLE,
    "beside": some(ref("beside")),
    "day": OFFSET,
    "not_during": some(ref("not_during")),
    "timed": ref("timed"),
    "reading": NAME,
    "visit": ANY_TEXT,
    "ladder": ANY_TEXT,
    "state": some(ANY_TEXT),
    # rules
    "when": CONDITION,
    "then": CONDITION,
    "unless": CONDITION,
    "done_when": CONDITION,
    "met_when": CONDITION,
    "decide": listed(ref("line")),
    "flags": some(ANY_TEXT),
    "flag": some(ref("flag")),
    "alternatives": listed(ref("alternative")),
    "criteria": listed(ref("criterion")),
    "target": ref("target"),
}

IN_PLACE: Mapping[tuple[str, str], Schema] = {
    ("protocol", "version"): {"type": ["string", "number"]},
    ("protocol", "questionnaire"): ANY_TEXT,
    ("protocol", "study"): ref("study"),
    ("protocol", "anchors"): named(ref("any anchor")),
    ("protocol", "windows"): named(ref("window")),
    ("protocol", "readings"): named(ref("reading")),
    ("protocol", "candidates"): ref("candidates"),
    ("protocol", "eligibility"): ref("eligibility"),
    ("protocol", "reporting"): ref("reporting"),
    ("protocol", "visits"): listed(ref("visits")),
    ("protocol", "monitoring"): ref("monitoring"),
    ("text", "en"): ANY_TEXT,
    ("text", "zh"): ANY_TEXT,
    ("study", "identifier"): ANY_TEXT,
    ("study", "enrolment"): WHOLE,
    ("study", "arms"): listed(ref("arm")),
    ("arm", "code"): ANY_TEXT,
    ("arm", "title"): ANY_TEXT,
    ("arm", "aliases"): some(ANY_TEXT),
    ("candidates", "events"): some(NAME),
    ("candidates", "findings"): some(NAME),
    ("candidates", "drugs"): DRUGS,
    ("eligibility", "counts"): listed(ANY_TEXT),
    ("reporting", "criteria"): listed(ANY_TEXT),
    ("anchor", "as_of"): TRUE,
    ("anchor", "birth"): TRUE,
    ("anchor", "anchor"): MOMENT,
    ("anchor", "first_known"): listed(ref("any anchor")),
    ("anchor", "earliest_of"): listed(ref("any anchor")),
    ("event anchor", "take"): {"enum": ["earliest", "latest"]},
    ("exposure anchor", "take"): {"enum": ["earliest", "latest"]},
    ("not_during", "flag"): ANY_TEXT,
    ("criterion", "id"): {"type": "string", "minLength": 1, "maxLength": 8},
    ("criterion", "kind"): one_of("criterion kind"),
    ("monitored", "criteria"): listed(ref("monitored")),
    ("visits", "name"): TEXT,
    **{("visits", word): OFFSET for word in ("from", "to")},
    ("monitoring", "day_zero"): NAME,
    **{("monitoring", block): listed(ref("monitored")) for block in words.BLOCKS},
    ("monitoring", "response"): listed(ref("response")),
    ("monitoring", "due"): listed(ref("due")),
    **{("response", state): CONDITION for state in words.RESPONSES},
    ("due", "what"): TEXT,
    **{("due", word): OFFSET for word in ("from", "to")},
    ("response", "alternatives"): listed(ref("response alternative")),
    ("response alternative", "reading"): ANY_TEXT,
    ("timed", "after"): DRUGS,
    ("timed", "between"): HOUR_ENDS,
    ("timed", "approximately"): HOUR_ENDS,
    ("timed", "look_back"): HOURS,
    ("timed", "named"): some(NAME),
    ("timed", "steady"): DAYS,
    ("dose", "take"): one_of("dose take"),
    ("dose", "weight"): NAME,
    ("dose", "area"): ref("area"),
    ("area", "height"): NAME,
    ("area", "weight"): NAME,
    ("target", "per_kg"): AMOUNT,
    ("target", "tolerance"): AMOUNT,
    ("gap", "hold"): some(ref("hold")),
    **{("line", verdict): CONDITION for verdict in words.VERDICTS},
    ("alternative", "reading"): ANY_TEXT,
    ("change", "from"): NAME,
    ("change", "to"): NAME,
    ("repeated", "readings"): WHOLE,
    ("repeated", "apart"): ref("apart"),
    ("change", "apart"): ref("apart"),
    ("some", "at_least"): WHOLE,
    ("some", "of"): listed(CONDITION),
    ("condition some", "some"): ref("some"),
    ("apart", "at_least"): APART,
    ("apart", "at_most"): APART,
    ("share", "passing"): ref("passing"),
    **{("passing", word): PERCENT for word in words.COMPARISONS},
    **{("age", word): YEARS for word in words.COMPARISONS},
    **{("elapsed", word): DURATION for word in words.ELAPSED},
    # conditions: the operator itself and the modifiers that differ
    ("condition all", "all"): listed(CONDITION),
    ("condition any", "any"): listed(CONDITION),
    ("condition not", "not"): CONDITION,
    ("condition if", "if"): CONDITION,
    ("condition criterion", "criterion"): ANY_TEXT,
    ("condition criterion", "is"): {"enum": list(words.VERDICTS)},
    ("condition attested", "is"): BOOLEAN,
    **{(f"condition {word}", word): ref("change") for word in ("fall", "rise")},
    **{(f"condition {change}", word): CHANGE for change in ("fall", "rise") for word in words.COMPARISONS},
    ("condition repeated", "repeated"): ref("repeated"),
    ("condition share", "share"): ref("share"),
    ("condition age", "age"): ref("age"),
    ("condition sex", "sex"): one_of("sex"),
    ("condition deceased", "deceased"): ref("deceased"),
    ("condition elapsed", "elapsed"): ref("elapsed"),
    ("condition date", "date"): MOMENT,
    ("condition response", "response"): some({"enum": list(words.RESPONSES)}),
    ("condition response", "at"): ANY_TEXT,
    ("condition dose", "dose"): ref("dose"),
    ("condition dose_change", "dose_change"): ref("dose_change"),
    ("condition gap", "gap"): ref("gap"),
    **{("condition gap", word): DAYS for word in words.COMPARISONS},
    ("condition arm", "arm"): some(ANY_TEXT),
    ("condition eligibility", "eligibility"): one_of("overall"),
}

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "protocol": ("id", "version", "title", "criteria"),
    "arm": ("code", "title"),
    "event anchor": ("event",),
    "exposure anchor": ("exposure",),
    "reading anchor": ("reading",),
    "reading": ("finding",),
    "criterion": ("id",),
    "monitored": ("id",),
    "visits": ("id", "name", "day", "from", "to"),
    "monitoring": ("day_zero",),
    "due": ("id", "what", "day", "from", "to"),
    "timed": ("after", "between"),
    "target": ("per_kg",),
    "gap": ("from",),
    "hold": ("ladder", "state"),
    "flag": ("name", "when"),
    "alternative": ("name", "reading"),
    "response alternative": ("name", "reading", "met_when"),
    "change": ("from", "to"),
    "some": ("at_least", "of"),
    "area": ("height", "weight"),
    "beside": ("finding",),
    "repeated": ("finding", "readings"),
    "share": ("finding", "passing"),
    "age": ("at",),
    "deceased": ("before",),
    "elapsed": ("since", "until"),
    "condition if": ("then",),
    "condition ladder": ("state",),
    "condition eligibility": ("at",),
}
EXTRA: Mapping[str, Schema] = {
    "not_during": exactly_one(("event", "exposure")),
    "criterion": exactly_one(words.BODY),
    "monitored": exactly_one(words.BODY),
    "alternative": exactly_one(words.BODY),
    "line": exactly_one(words.VERDICTS),
    "response": exactly_one(words.RESPONSES),
    "reading": PERIOD,
    "repeated": {**PERIOD, **at_least_one(TESTS)},
    "share": {**PERIOD, **at_least_one(TESTS)},
    "beside": at_least_one(TESTS),
    "exposure": {"minProperties": 1, "maxProperties": 1},
    **{word: exactly_one(words.SELECTORS) for word in ("dose", "dose_change", "gap")},
    "passing": {"minProperties": 1, "maxProperties": 1},
    "reaching": {"minProperties": 1, "maxProperties": 1},
    "age": at_least_one(words.COMPARISONS),
    "elapsed": at_least_one(words.ELAPSED),
    "condition finding": {**PERIOD, **at_least_one(TESTS)},
    "condition reading": at_least_one(TESTS),
    "condition attested": at_least_one((*TESTS, *words.DATE_RELATIONS)),
    "condition fall": exactly_one(words.COMPARISONS),
    "condition rise": exactly_one(words.COMPARISONS),
    "condition date": exactly_one(words.DATE_RELATIONS),
    "condition event": PERIOD,
    "condition exposure": PERIOD,
    "condition gap": exactly_one(words.COMPARISONS),
    "condition dose": at_least_one((*words.COMPARISONS, "between", "target")),
}
# Places that list the values of a word; all others are mappings.
VALUES = frozenset(
    {
        *("dose take", "direction", "severity", "overall", "visit anchor", "response at", "take", "presence"),
        *(
            "timing",
            "edge",
            "if_none",
            "kind",
            "criterion kind",
            "answer",
            "same",
            "limit",
            "time unit",
            "sex",
        ),
    }
)
