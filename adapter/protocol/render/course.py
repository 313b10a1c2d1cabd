"""Conditions about what happens after entry in words: response, dose, gaps, ladders, the arm."""

from __future__ import annotations

from adapter.model.course import (
    EARLIER,
    ArmIs,
    CourseCondition,
    DoseChanged,
    DoseIs,
    DoseOf,
    DoseTarget,
    EligibilityIs,
    GapIs,
    LadderIs,
    ResponseIs,
)
from adapter.model.quantity import number_text
from adapter.protocol.render.moments import say_days, say_moment, say_period
from adapter.protocol.render.readings import say_bound, say_selection
from adapter.protocol.render.voice import Voice


def say_course(test: CourseCondition, voice: Voice) -> str:
    """One condition about an enrolled subject's course."""
    match test:
        case ResponseIs(states=states, at=at):
            when = voice.phrase(
                f"ResponseIs.{at or 'here'}" if at in ("", EARLIER) else "ResponseIs.at", visit=at
            )
            said = voice.one_of(voice.phrase(f"response.{state}") for state in states)
            return voice.phrase("ResponseIs", at=when, states=said)
        case DoseIs():
            return _dose_is(test, voice)
        case DoseChanged(drugs=drugs, direction=direction, period=period):
            said = say_period(period, voice)
            return voice.phrase(f"DoseChanged.{direction}", drugs=_drugs(drugs, voice), period=said)
        case LadderIs(ladder=ladder, states=states):
            said = voice.one_of(voice.quoted(state) for state in states)
            return voice.phrase("LadderIs", ladder=ladder, states=said)
        case GapIs():
            return _gap(test, voice)
        case ArmIs(arms=arms):
            return voice.phrase("ArmIs", arms=voice.one_of(voice.quoted(arm) for arm in arms))
        case EligibilityIs(overall=overall, at=at):
            said = voice.phrase(f"overall.{overall.value}")
            return voice.phrase("EligibilityIs", overall=said, at=say_moment(at, voice))


def _drugs(drugs: tuple[str, ...], voice: Voice) -> str:
    return voice.one_of(voice.name(drug) for drug in drugs)


def _dose_is(test: DoseIs, voice: Voice) -> str:
    if test.target:
        said = voice.phrase("DoseIs.target", target=_target(test.target, voice))
    else:
        said = voice.both(say_bound(bound, voice) for bound in test.bounds)
    return voice.phrase("DoseIs", dose=_dose_of(test.dose, voice), unit=test.unit, test=said)


def _dose_of(dose: DoseOf, voice: Voice) -> str:
    weight = voice.phrase("DoseOf.weight", weight=say_selection(dose.weight, voice)) if dose.weight else ""
    if dose.weight and dose.height:
        height = say_selection(dose.height, voice)
        weight = voice.phrase("DoseOf.area", height=height, weight=say_selection(dose.weight, voice))
    return voice.phrase(
        "DoseOf",
        dose=voice.phrase(f"DoseOf.{dose.take}", drugs=_drugs(dose.drugs, voice)),
        period=say_period(dose.period, voice),
        details=voice.bracketed((weight,)),
    )


def _target(target: DoseTarget, voice: Voice) -> str:
    details = []
    if target.at_most is not None:
        details.append(voice.phrase("DoseTarget.at_most", at_most=number_text(target.at_most)))
    if target.tolerance:
        details.append(voice.phrase("DoseTarget.tolerance", tolerance=number_text(target.tolerance)))
    per_kg = number_text(target.per_kg)
    return voice.phrase("DoseTarget", per_kg=per_kg, details=voice.bracketed(details))


def _gap(test: GapIs, voice: Voice) -> str:
    bound = voice.phrase(f"Bound.{test.comparison}", amount=say_days(test.days, voice))
    holds = (voice.phrase("GapIs.hold", ladder=say_course(hold, voice)) for hold in test.holds)
    return voice.phrase(
        "GapIs",
        drugs=_drugs(test.drugs, voice),
        period=say_period(test.period, voice),
        bound=bound,
        details=voice.bracketed(holds),
    )
