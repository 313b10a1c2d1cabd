"""What a protocol file may name, and what its ``candidates`` clause looks for, from the mapping files."""

from __future__ import annotations

from adapter.mappers.terminology import Terminology
from adapter.model.candidates import CandidateQuery
from adapter.model.protocol import Candidates, ConceptInfo, DrugInfo, UnitScale, Vocabulary
from adapter.model.terminology import UNVERIFIED, CodeEntry, Concept

# Facts that come from a resource type rather than from a code: no row of concepts.yaml describes them.
ADMINISTRATIVE = {
    "research_consent": ("Consent", "consent"),
    "research_subject": ("ResearchSubject", "research-subject"),
    "adverse_event": ("AdverseEvent", "adverse-event"),
    "encounter": ("Encounter", "encounter"),
}
# Where an event of a concept may be recorded; all others are diagnoses.
_RECORDED_IN = {
    "kidney_biopsy": ("Procedure",),
    "no_known_allergy": ("AllergyIntolerance",),
    "drug_allergy_status": ("AllergyIntolerance", "Condition"),
    "macrolide_allergy": ("AllergyIntolerance", "Condition"),
}


def vocabulary_of(terminology: Terminology) -> Vocabulary:
    """Concepts, drugs and unit steps under the names that ``protocol.yaml`` uses."""
    deciding = {entry.concept for entry in terminology.entries() if entry.decides or _asks(entry)}
    concepts = {
        key: _info(concept, key in deciding or bool(concept.derive))
        for key, concept in terminology.concepts.items()
        if concept.kind in ("finding", "event")
    }
    for key, (resource_type, category) in ADMINISTRATIVE.items():
        concepts[key] = ConceptInfo(
            key=key, kind="event", label=key.replace("_", " "), resource_types=(resource_type,),
            categories=(category,),
        )  # fmt: skip
    drugs = {
        entry.drug: DrugInfo(
            key=entry.drug,
            label=terminology.concepts[entry.drug].label_en if entry.drug in terminology.concepts else "",
            role=entry.role,
            classes=entry.classes,
            silence=terminology.concepts[entry.drug].silence
            if entry.drug in terminology.concepts
            else "unknown",
        )
        for entry in terminology.drugs()
    }
    units = {
        (entry.concept, entry.spelling): UnitScale(entry.factor, entry.offset)
        for entry in terminology.units()
        if entry.scale == "linear" and entry.usable
    }
    return Vocabulary(concepts=concepts, drugs=drugs, units=units)


def _asks(entry: CodeEntry) -> bool:
    """A verified code that a person has to look at (I80.3, C44) is known from records all the same."""
    return entry.effect == "review" and entry.verification not in UNVERIFIED


def _info(concept: Concept, decides: bool) -> ConceptInfo:
    finding = concept.kind == "finding"
    return ConceptInfo(
        key=concept.key,
        kind="finding" if finding else "event",
        label=concept.label_en,
        unit=concept.unit,
        low=concept.hard.low if concept.hard else None,
        high=concept.hard.high if concept.hard else None,
        silence=concept.silence,
        resource_types=("Observation",) if finding else _RECORDED_IN.get(concept.key, ("Condition",)),
        broader=concept.broader,
        decides=decides,
    )


def candidate_query(terminology: Terminology, clause: Candidates, study: str) -> CandidateQuery:
    """The clause as byte patterns: every code and wording of its concepts, verified or not."""
    codes, texts = terminology.patterns_of({*clause.events, *clause.findings, *clause.drugs})
    return CandidateQuery(codes=codes, texts=texts, studies=frozenset({study}))
