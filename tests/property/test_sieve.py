"""The byte sieve against parsing everything: it may keep too much, never too little.

The oracle decodes each line with the standard library and follows FHIR's rules for references (R4, 2.3.0.1);
it shares no code with the sieve. Resources are written by an adversarial JSON writer: any key order, any
white space, any character escaped as ``\\u``, slashes as ``\\/``.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.model.candidates import NOMINATING_TYPES, CandidateQuery
from adapter.source import owners
from adapter.source.ndjson import Block
from adapter.source.nominate import candidate_ids, hits
from adapter.source.sieve import sieve

IDS = ("p1", "p12", "p-1", "P1", "a.b", "0", "pat_9", "8f6e1d9c-2f3b-4a51-9a3e-000000000001")
CANDIDATES = frozenset({"p1", "a.b", "8f6e1d9c-2f3b-4a51-9a3e-000000000001"})
SUBJECTLESS = ("Medication", "ResearchStudy", "Organization", "Practitioner", "Location", "Device")
OWNED = ("Observation", "Condition", "DiagnosticReport", "Specimen", "Encounter", "MedicationRequest")


@pytest.fixture(autouse=True, scope="module", params=["all at once", "line by line"])
def looked_at(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test of this file: with blocks of any size proven at once, and with every line read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "SMALL", 0 if request.param == "all at once" else 2**62)
        yield request.param


def dice_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - spelling of test data, no secret


def written(value: Any, dice: random.Random) -> str:
    """JSON text of a value with random white space, key order and escapes; equal when decoded."""
    blank = dice.choice(["", "", "", " ", "  ", "\t"])
    if isinstance(value, dict):
        items = list(value.items())
        dice.shuffle(items)
        inner = ",".join(
            f"{blank}{_text(key, dice)}{blank}:{blank}{written(item, dice)}{blank}" for key, item in items
        )
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ",".join(f"{blank}{written(item, dice)}" for item in value) + "]"
    return _text(value, dice) if isinstance(value, str) else json.dumps(value)


def _text(text: str, dice: random.Random) -> str:
    rate = dice.choice([0, 0, 0, 0.05, 1])
    out = []
    for char in text:
        if dice.random() < rate and ord(char) < 0x10000:
            code = f"{ord(char):04x}"
            out.append("\\u" + (code.upper() if dice.random() < 0.5 else code))
        elif char == "/" and rate and dice.random() < 0.5:
            out.append("\\/")
        else:
            out.append(json.dumps(char, ensure_ascii=dice.random() < 0.2)[1:-1])
    return '"' + "".join(out) + '"'


references = st.one_of(
    st.sampled_from(IDS).map(lambda id_: {"reference": f"Patient/{id_}"}),
    st.sampled_from(IDS).map(lambda id_: {"reference": f"https://ehr.example/fhir/r4/Patient/{id_}"}),
    st.sampled_from(IDS).map(lambda id_: {"reference": f"Patient/{id_}/_history/3"}),
    st.sampled_from(IDS).map(lambda id_: {"reference": f"urn:uuid:{id_}", "display": "Patient/p12"}),
    st.sampled_from(IDS).map(lambda id_: {"display": "Zhang Patient/p12", "reference": f"Patient/{id_}"}),
    st.tuples(st.sampled_from(IDS), st.sampled_from(["Zhang", "}", "a{b", 'the "reference"', "\\", ""])).map(
        lambda said: {"reference": f"Patient/{said[0]}", "type": "Patient", "display": said[1]}
    ),
    st.sampled_from(IDS).map(lambda id_: {"reference": f"Patient/{id_}", "identifier": {"value": "77"}}),
    st.sampled_from(IDS).map(lambda id_: {"identifier": {"system": "urn:mrn", "value": id_}}),
    st.just({"reference": "#who"}),
    st.just({"reference": "Group/g1"}),
    st.just({"reference": "Patient?identifier=urn:mrn|1"}),
)


@st.composite
def resources(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from((*OWNED, *SUBJECTLESS, "Patient", "AllergyIntolerance", "ResearchSubject")))
    made: dict[str, Any] = {"resourceType": kind, "id": draw(st.sampled_from(IDS))}
    made["text"] = {
        "div": draw(st.sampled_from(["<div>a</div>", "膜性肾病", "see Patient/p12", '"subject":{']))
    }
    if kind in ("Patient", *SUBJECTLESS):
        if kind == "Patient" and draw(st.booleans()):
            made["link"] = [{"other": draw(references), "type": "seealso"}]
        return made
    key = {"AllergyIntolerance": "patient", "ResearchSubject": "individual"}.get(kind, "subject")
    if draw(st.integers(0, 9)):
        made[key] = draw(references)
    if draw(st.booleans()):
        made["performer"] = [draw(references)]
    if draw(st.integers(0, 3)) == 0:
        inner: dict[str, Any] = {"resourceType": "Observation", "id": "in"}
        if draw(st.booleans()):
            inner["subject"] = draw(references)
        made["contained"] = [inner, {"resourceType": "Patient", "id": "who", "identifier": [{"value": "p1"}]}]
    return made


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def patient_named(reference: Any) -> str | None:
    """The Patient id of a literal reference, None when only a server could say who is meant."""
    literal = reference.get("reference", "") if isinstance(reference, dict) else ""
    parts = literal.split("/_history/")[0].split("/")
    return parts[-1] if len(parts) >= 2 and parts[-2] == "Patient" else None


def is_needed(resource: dict[str, Any], candidates: frozenset[str]) -> bool:
    """Whether a mapper that reads everything might need this resource for one of the candidates."""
    if resource["resourceType"] == "Patient":
        named = [patient_named(link["other"]) for link in resource.get("link", [])]
        return resource["id"] in candidates or not candidates.isdisjoint(named)
    holders = [resource, *resource.get("contained", [])]
    stated = [
        holder[key] for holder in holders for key in ("subject", "patient", "individual") if key in holder
    ]
    everyone = [*stated, *resource.get("performer", [])]
    if any(patient_named(reference) in candidates for reference in everyone):
        return True
    own = [resource[key] for key in ("subject", "patient", "individual") if key in resource]
    return not own or any(patient_named(reference) is None for reference in stated)


@settings(max_examples=400, deadline=None)
@given(st.lists(resources(), min_size=1, max_size=12), st.integers(0, 2**32))
def test_every_line_that_may_be_needed_survives(made: list[dict[str, Any]], seed: int) -> None:
    dice = dice_of(seed)
    lines = [written(resource, dice).encode() for resource in made]
    kept = {position for position, _ in sieve(lines, CANDIDATES)}
    needed = {at for at, line in enumerate(lines) if is_needed(json.loads(line), CANDIDATES)}
    assert needed <= kept


@settings(max_examples=200, deadline=None)
@given(st.lists(resources(), max_size=12), st.integers(0, 2**32))
def test_a_block_and_its_lines_sieve_alike(made: list[dict[str, Any]], seed: int) -> None:
    dice = dice_of(seed)
    lines = [written(resource, dice).encode() for resource in made]
    block = b"".join(line + dice.choice([b"\n", b"\r\n", b"\n\n"]) for line in lines)
    one_by_one = [kept.line for line in lines for kept in sieve([line], CANDIDATES)]
    assert [kept.line for kept in sieve(block, CANDIDATES)] == one_by_one


def test_the_sieve_does_sieve() -> None:
    """Plain lines of other patients go, however their producer spaces JSON; otherwise it would be no use."""
    others = [f"p{number}" for number in range(2, 50)]
    for spacing in ((",", ":"), (", ", ": ")):
        lines = [
            json.dumps(
                {"resourceType": "Observation", "subject": {"reference": f"Patient/{name}"}},
                separators=spacing,
            ).encode()
            for name in others
        ]
        assert sieve(lines, CANDIDATES) == []


@settings(max_examples=400, deadline=None)
@given(st.lists(resources(), min_size=1, max_size=20), st.integers(0, 2**32), st.data())
def test_what_is_proven_at_once_is_what_reading_finds(
    made: list[dict[str, Any]], seed: int, data: st.DataObject
) -> None:
    """Among many plain lines, which let the block be proven, hard ones of every kind."""
    dice = dice_of(seed)
    plain = [json.dumps(resource, separators=(",", ":"), ensure_ascii=False) for resource in made]
    hard = [written(resource, dice) for resource in made]
    other = '"subject":{"reference":"Patient/p2"}'
    kind = st.sampled_from(
        (*HARD.values(), *plain, *hard, f"{{{other}}}", '{"subject":{"reference":"Patient/p1"}}')
    )
    texts = data.draw(st.lists(kind, min_size=1, max_size=30))
    lines = [text.replace("<ELSE>", other).replace("<ID>", '{"identifier":{"value":"p1"}}') for text in texts]
    block = "\n".join(lines).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "SMALL", 0)
        at_once = sieve(block, CANDIDATES)
        patch.setattr(owners, "SMALL", 2**62)
        assert at_once == sieve(block, CANDIDATES)


# <ELSE> stands for the subject element of another patient, <ID> for a logical reference.
HARD = {
    "second place, escaped slash": r'{<ELSE>,"performer":{"reference":"Patient\/p1"}}',
    "second place, escaped letter": r'{<ELSE>,"author":{"reference":"Patient/\u00701"}}',
    "second place, escaped key word": r'{<ELSE>,"author":{"reference":"P\u0061tient/p1"}}',
    "second place, escaped version": r'{<ELSE>,"author":{"reference":"Patient/p1\u002f_history"}}',
    "second place, uuid": '{<ELSE>,"author":{"reference":"urn:uuid:p1"}}',
    "subject said twice, last wins": '{<ELSE>,"subject":<ID>}',
    "contained, logical": '{<ELSE>,"contained":[{"subject":<ID>}]}',
    "contained is no list": '{<ELSE>,"contained":{"id":"m"}}',
    "only what is contained has an owner": '{"id":"a","contained":[{"id":"m"},{<ELSE>}],"status":"x"}',
    "contained, a bracket in a text": '{"contained":[{"text":"a]b"},{<ELSE>}],"status":"x"}',
    "contained in what is contained": '{"contained":[{"contained":[{<ELSE>}]}],"id":"contained"}',
    "contained, an escape": r'{"contained":[{"text":"\"]"},{<ELSE>}]}',
    "contained twice": '{"contained":[],"contained":[{<ELSE>}]}',
    "contained as an escaped quote": r'{"a":"\"contained":[{<ELSE>}]}',
    "contained is someone else's": '{"contained":[{<ELSE>}],"subject":<ID>}',
    "two subject elements": '{<ELSE>,"individual":<ID>}',
    "a Bundle": '{"resourceType":"Bundle","entry":[{"resource":{<ELSE>}},{"resource":{"subject":<ID>}}]}',
    "a Bundle of one": '{"resourceType":"Bundle","entry":[{"resource":{<ELSE>}}]}',
    "Parameters of one": '{"resourceType":"Parameters","parameter":[{"resource":{<ELSE>}}]}',
    "form inside another key": '{"xsubject":{"reference":"Patient/p2"}}',
    "a key that ends in a quote": r'{"x\"subject":{"reference":"Patient/p2"},"y":1}',
    "reference said twice, last wins": '{"subject":{"reference":"Patient/p2","reference":"#p1"}}',
    "said again after a name": '{"subject":{"reference":"Patient/p2","display":"x","reference":""}}',
    "said again after a brace": '{"subject":{"reference":"Patient/p2","display":"}","reference":""}}',
    "said again after an object": '{"subject":{"reference":"Patient/p2","a":{},"reference":null}}',
    "said again after an Identifier": '{"subject":{"reference":"Patient/p2","a":{"b":"c"},"reference":""}}',
    "said again after a quote": r'{"subject":{"reference":"Patient/p2","display":"\"}","reference":""}}',
    "subject in the spelling of another": '{"subject":[],"x":{"reference":"Patient/p2"}}',
    "key escaped": r'{<ELSE>,"\u0073ubject":<ID>}',
    "a Patient whose element names another": '{"resourceType":"Patient","id":"p1","x":{<ELSE>}}',
    "a Medication whose element names a patient": '{"id":"m", "resourceType" : "Medication","x":{<ELSE>}}',
    "a Medication with a subject": '{"resourceType":"Medication","id":"m",<ELSE>}',
    "a study with a subject": '{<ELSE>,"resourceType":\t"ResearchStudy"}',
    "a Medication after all": '{"x":1,"resourceType":"Observation",<ELSE>,"resourceType":"Medication"}',
    "named in an unclosed line": '{<ELSE>,"a":"Patient/p1',
}


@pytest.mark.parametrize("line", HARD.values(), ids=HARD.keys())
def test_lines_with_someone_else_in_first_place_survive(line: str) -> None:
    other = '"subject":{"reference":"Patient/p2"}'
    hard = line.replace("<ELSE>", other).replace("<ID>", '{"identifier":{"value":"p1"}}')
    lines = [f"{{{other}}}".encode(), hard.encode(), f"{{{other}}}".encode()]
    assert [kept.position for kept in sieve(lines, CANDIDATES)] == [1]


@pytest.mark.parametrize(
    "line",
    [
        '{"resourceType":"Patient","id":"p2","link":[{"other":{"reference":"Patient/p12"}}]}',
        '{"subject":{"display":"x","reference":"Patient/p2"}}',
        '{"subject"  :\t{"type":"Patient","reference":"https://ehr.example/fhir/Patient/p2/_history/7"}}',
        '{"subject":{"reference":"Patient/p2"},"contained":[{"id":"m"},{"subject":{"reference":"Patient/p2"}}]}',
        '{"text":"\\u003cb\\u003e\\u819c","subject":{"reference":"Patient/p2"}}',
        '{"resourceType":"Observation","subject":{"reference":"Patient/p2","type":"Patient"}}',
        '{"subject":{"reference":"Patient/p2"},"participant":[{"individual":{"reference":"Practitioner/1"}}]}',
    ],
)
def test_lines_of_others_go_even_if_they_must_be_read(line: str) -> None:
    json.loads(line)
    assert sieve([line.encode()], CANDIDATES) == []


PLAIN_PATIENT = '{"resourceType":"Patient","id":"p2","gender":"male"}'


@pytest.mark.parametrize(
    "line",
    [
        '{"resourceType":"Patient","id":"p1"}',
        '{"resourceType":"Patient","id":"p2","id":"p1"}',
        '{"resourceType":"Patient","id":"p2","resourceType":"Observation"}',
        '{"resourceType":"Patient","id":"p2","link":[{"other":{"reference":"Patient/p1"}}]}',
        r'{"resourceType":"Patient","id":"p2","link":[{"other":{"reference":"Patient\/p1"}}]}',
        '{"resourceType":"Patient","id":"p2","link":[{"other":{"reference":"urn:uuid:p1"}}]}',
        r'{"resourceType":"Patient","id":"p2","\u0069d":"p1"}',
        r'{"resourceType":"Patient","id":"p2","\u0072esourceType":"Bundle"}',
        '{"resourceType":"Patient","id":""}',
        '{"resourceType":"Patient","id":["p2"]}',
        '{"resourceType":"PatientX","id":"p2"}',
    ],
)
def test_a_patient_among_others_stays_unless_it_is_plainly_another(line: str) -> None:
    lines = [PLAIN_PATIENT.encode(), line.encode(), PLAIN_PATIENT.encode()]
    assert [kept.position for kept in sieve(lines, CANDIDATES)] == [1]


def test_an_id_is_compared_whole() -> None:
    longer = [
        f'{{"subject":{{"reference":"Patient/{name}"}}}}'.encode() for name in ("p12", "p1-x", "p1.5", "xp1")
    ]
    assert sieve(longer, CANDIDATES) == []


def test_lines_that_do_not_parse_survive_to_be_counted() -> None:
    broken = [b'{"resourceType":"Observation","sub', b"null", b"[]", b"\xff\xfe", b"{" * 3000]
    assert [kept.line for kept in sieve(broken, CANDIDATES)] == broken


WORDS = (
    "N04.2",
    "77182004",
    "膜性肾病",
    "Membranous nephropathy",
    'a"b/c',
    "PLA2R",
    "link",
    "ResearchStudy/7",
    "x/y",
    "Straße",
)
# Other characters that mean the same: full width, subscripts, letters of mathematics, blanks of all kinds.
ALSO = {
    "N": "\uff2e\uff4e\U0001d40d",
    "0": "\uff10",
    "2": "\uff12\u2082\u2461",
    "A": "\uff21\u24b6",
    "R": "\u211b",
    "k": "\u212a",
    " ": " \t\u3000\u00a0",
}


def also_written(text: str, dice: random.Random) -> str:
    """The same wording in other characters, some of them doubled if they are blanks."""
    return "".join(
        dice.choice(ALSO[char]) * (1 + (char == " " and dice.random() < 0.5))
        if char in ALSO and dice.random() < 0.5
        else dice.choice((char.upper(), char))
        if char.isascii()
        else char
        for char in text
    )


def same(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6),
    st.lists(st.sampled_from((*WORDS, "N04", "link age", "", "性", "研究")), min_size=1, max_size=12),
    st.integers(0, 2**32),
)
def test_no_line_with_a_word_is_passed_over(sought: list[str], texts: list[str], seed: int) -> None:
    dice = dice_of(seed)
    lines = [written({"a": also_written(text, dice)}, dice) for text in texts]
    block = Block("\n".join(lines).encode(), 1)
    found = {number for _, number, _, _ in hits([("f", block)], frozenset(sought))}
    holding = {
        at
        for at, line in enumerate(lines, 1)
        if any(same(word) in same(json.loads(line)["a"]) for word in sought)
    }
    assert holding == found


QUERY = CandidateQuery(
    codes=frozenset({"N04.2", "77182004"}),
    texts=frozenset({"膜性肾病", "Membranous", 'a"b/c'}),
    studies=frozenset({"NCT03864250"}),
)
TEXTS = (
    "膜性肾病 II期",
    "MEMBRANOUS nephropathy",
    "\uff2dembranous",
    "\uff2e\uff10\uff14.2",
    "N04.200x001",
    "n04.201",
    'x a"b/c',
    "IgA",
    "",
    "膜性",
)


@st.composite
def diagnoses(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(("Condition", "Observation", "Medication", "ResearchSubject")))
    key = "individual" if kind == "ResearchSubject" else "subject"
    return {
        "resourceType": kind,
        key: {"reference": f"Patient/{draw(st.sampled_from(IDS))}"},
        "code": {
            "coding": [{"system": "s", "code": draw(st.sampled_from(("77182004", "N04.200", "N18.9")))}],
            "text": draw(st.sampled_from(TEXTS)),
        },
        "study": {"reference": draw(st.sampled_from(("ResearchStudy/local1", "ResearchStudy/other")))},
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(diagnoses(), max_size=8), st.integers(0, 2**32))
@example([], 0)
def test_everyone_with_a_code_text_or_study_is_nominated(made: list[dict[str, Any]], seed: int) -> None:
    dice = dice_of(seed)
    study = {"resourceType": "ResearchStudy", "id": "local1", "identifier": [{"value": "NCT03864250"}]}
    lines = [written(resource, dice).encode() for resource in [study, *made]]
    block = b"\n".join(lines) + b"\n"
    found = candidate_ids(lambda _types: [("f", Block(block, 1))], QUERY)
    needles = [same(needle) for needle in (*QUERY.codes, *QUERY.texts, "ResearchStudy/local1")]
    expected = {
        (resource.get("subject") or resource["individual"])["reference"].split("/")[1]
        for resource in made
        if resource["resourceType"] in NOMINATING_TYPES
        and any(needle in same(text) for needle in needles for text in strings(resource))
    }
    assert found.ids == expected
    assert found.unresolved == 0


def test_a_capital_may_hide_behind_an_escape() -> None:
    """A capital N is U+004E and a small one U+006E."""
    study = rb'{"resourceType":"ResearchStudy","id":"local1","identifier":[{"value":"\u004eCT03864250"}]}'
    subject = (
        b'{"resourceType":"ResearchSubject","individual":{"reference":"Patient/p1"},"study":{"reference":'
    )
    block = study + b"\n" + subject + b'"ResearchStudy/local1"}}\n'
    assert candidate_ids(lambda _types: [("f", Block(block, 1))], QUERY).ids == {"p1"}


LINKS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=8)


@settings(max_examples=100, deadline=None)
@given(LINKS)
def test_merged_records_join_both_ways_and_transitively(links: list[tuple[str, str]]) -> None:
    patients = [
        {
            "resourceType": "Patient",
            "id": name,
            "link": [
                {"other": {"reference": f"Patient/{other}"}, "type": "replaces"}
                for one, other in links
                if one == name
            ],
        }
        for name in "abcdefgh"
    ]
    condition = {
        "resourceType": "Condition",
        "code": {"coding": [{"code": "77182004"}]},
        "subject": {"reference": "Patient/a"},
    }
    block = b"\n".join(json.dumps(resource).encode() for resource in [condition, *patients])
    expected = {"a"}
    for _ in patients:
        expected |= {two for pair in links for one, two in (pair, pair[::-1]) if one in expected}
    assert candidate_ids(lambda _types: [("f", Block(block, 1))], QUERY).ids == expected


def test_a_logical_subject_is_resolved_by_the_patients_identifier() -> None:
    lines = [
        {"resourceType": "Patient", "id": "p7", "identifier": [{"system": "urn:mrn", "value": "M/7"}]},
        {"resourceType": "Patient", "id": "p8", "identifier": [{"system": "urn:other", "value": "M/7"}]},
        {
            "resourceType": "Condition",
            "code": {"text": "膜性肾病"},
            "subject": {"identifier": {"system": "urn:mrn", "value": "M/7"}},
        },
        {"resourceType": "Condition", "code": {"text": "膜性肾病"}, "subject": {"display": "?"}},
    ]
    block = "\n".join(json.dumps(line) for line in lines).encode()
    found = candidate_ids(lambda _types: [("Condition.ndjson", Block(block, 1))], QUERY)
    assert found.ids == {"p7"}
    assert [(issue.code, issue.reference) for issue in found.issues] == [
        ("CANDIDATE_WITHOUT_SUBJECT", "Condition.ndjson:4")
    ]
