"""A person's course as series and picture, from readings made by hand and the limits NCT03864250 prints."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, date
from fractions import Fraction

import pytest

from adapter.errors import ConfigError
from adapter.model.dates import on_day
from adapter.model.facts import Facts, Finding, Intervention, Source, Subject
from adapter.model.quantity import Interval
from adapter.worklist.chart import draw
from adapter.worklist.questionnaire import answers, form
from adapter.worklist.timeline import Panel, Timeline, timeline
from tests.worklist_case import trial

AS_OF = date(2019, 6, 3)
SVG = "{http://www.w3.org/2000/svg}"


def protein(day: date, value: Interval, original: str, excluded: str = "") -> Finding:
    return Finding(
        subject="p",
        concept="urine_protein_24h",
        source=Source(f"Observation/{day}", "1"),
        category="laboratory",
        value=value,
        unit="g/d",
        original=original,
        start=on_day(day),
        excluded=excluded,
    )


def tacrolimus(start: date, end: date | None, daily: int) -> Intervention:
    return Intervention(
        subject="p",
        concept="tacrolimus",
        source=Source(f"MedicationRequest/{start}", "1"),
        kind="order",
        start=on_day(start),
        end=on_day(end) if end else None,
        exposure_end=on_day(end) if end else None,
        ongoing=end is None,
        daily_dose=Fraction(daily),
        dose_unit="mg",
    )


def course() -> Timeline:
    facts = Facts(
        subjects=(Subject("p", Source("Patient/p")),),
        findings=(
            protein(date(2019, 1, 10), Interval.exactly(9), "9.0 g/24h"),
            protein(date(2019, 3, 10), Interval.exactly(8010), "8010 mg", "IMPLAUSIBLE"),
            protein(date(2019, 5, 10), Interval.reported(Fraction("0.15"), "<"), "<0.15 g/24h"),
            protein(date(2019, 7, 1), Interval.exactly(1), "after the day"),
        ),
        interventions=(
            tacrolimus(date(2019, 1, 10), date(2019, 3, 31), 4),
            tacrolimus(date(2019, 4, 1), None, 2),
        ),
    )
    return timeline(trial().protocol, facts, None, as_of=AS_OF, zone=UTC)


def panel(concept: str) -> Panel:
    return next(one for one in course().panels if one.concept == concept)


def test_readings_up_to_the_day_as_they_are() -> None:
    found = panel("urine_protein_24h")
    assert [(one.day, one.shown, one.excluded) for one in found.points] == [
        (date(2019, 1, 10), "9", ""),
        (date(2019, 3, 10), "8010", "IMPLAUSIBLE"),
        (date(2019, 5, 10), "<0.15", ""),
    ]


def test_limits_are_those_of_the_protocol() -> None:
    """ "> 8 g/24h" is inclusion 3, 3.5 g/d the nephrotic threshold, "< 0.3g/24h" complete remission."""
    values = {limit.value: limit.names for limit in panel("urine_protein_24h").limits}
    assert set(values) == {Fraction(8), Fraction(7, 2), Fraction(3, 10)}
    assert "INCL03A" in values[Fraction(8)]
    band = panel("urine_protein_24h").band
    assert band is not None
    assert (band.low, band.high) == (None, Fraction(3, 10))


def test_the_dose_changes_on_the_day_of_the_new_order() -> None:
    assert [(one.day, one.shown) for one in panel("tacrolimus").points] == [
        (date(2019, 1, 10), "4"),
        (date(2019, 4, 1), "2"),
    ]


def test_a_bound_is_an_open_sign_and_what_is_left_aside_is_not_drawn() -> None:
    drawn = ET.fromstring(draw(course(), lambda key, **blanks: f"{key} {blanks}", {}))  # noqa: S314 - our own
    signs = [
        one for one in drawn.iter() if "exact" in one.get("class", "") or "bounded" in one.get("class", "")
    ]
    said = ["".join(title.text or "" for title in one.iter(f"{SVG}title")) for one in signs]
    proteins = [
        (one.tag.removeprefix(SVG), words) for one, words in zip(signs, said, strict=True) if "g/d" in words
    ]
    proteins = [(tag, words) for tag, words in proteins if "Observation" in words]
    assert [tag for tag, _ in proteins] == ["circle", "path"]
    assert "<0.15" in proteins[1][1]
    assert not [words for words in said if "8010" in words]


def test_the_picture_says_in_words_what_it_draws_and_has_no_style_of_its_own() -> None:
    text = draw(course(), lambda key, **blanks: f"{key} {blanks}", {"urine_protein_24h": "<b>Protein</b>"})
    drawn = ET.fromstring(text)  # noqa: S314 - our own
    assert drawn.get("role") == "img"
    labels = (drawn.get("aria-labelledby") or "").split()
    assert labels == [next(iter(drawn.iter(f"{SVG}{tag}"))).get("id") for tag in ("title", "desc")]
    assert "style=" not in text
    assert "<style" not in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("link", "text", "answer"),
    [
        ("ulcer", "none", "valueCoding"),
        ("onset-date", "2018-11", "valueDate"),
        ("idiopathic", "false", "valueBoolean"),
        ("fibrosis-percent", "25-50%", "valueString"),
    ],
)
def test_answers_have_the_type_of_their_question(link: str, text: str, answer: str) -> None:
    shown = form(trial().protocol, "en")
    assert shown is not None
    [item] = answers(shown, {link: text, "can-comply": " "})
    assert item["linkId"] == link
    assert list(item["answer"][0]) == [answer]


@pytest.mark.parametrize(
    ("link", "text"), [("ulcer", "perhaps"), ("onset-date", "spring"), ("idiopathic", "maybe")]
)
def test_an_answer_that_cannot_be_read_is_refused_without_being_quoted(link: str, text: str) -> None:
    shown = form(trial().protocol, "zh")
    assert shown is not None
    with pytest.raises(ConfigError) as refused:
        answers(shown, {link: text})
    assert link in str(refused.value)
    assert text not in str(refused.value)


def test_every_question_and_choice_is_in_both_languages() -> None:
    english, chinese = form(trial().protocol, "en"), form(trial().protocol, "zh")
    assert english is not None
    assert chinese is not None
    for one, other in zip(english.questions, chinese.questions, strict=True):
        assert (one.link, one.kind) == (other.link, other.kind)
        assert one.text != other.text
        assert [choice.code for choice in one.choices] == [choice.code for choice in other.choices]
