"""A small hospital in facts, built by hand: every text that must stay inside holds the word CANARY."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from adapter.exports.dataset import Cell, Dataset
from adapter.exports.pseudonym import SubjectNumbers
from adapter.exports.sdtm import Build, build_sdtm
from adapter.exports.spec import Specs, load_specs
from adapter.exports.study import Criterion, StudyConfig, load_study
from adapter.model.dates import PartialDate, parse_date
from adapter.model.decision import CriterionResult, Decision, Overall, Verdict
from adapter.model.facts import (
    Coding,
    Event,
    Facts,
    Finding,
    Intervention,
    ReferenceRange,
    Source,
    Subject,
)
from adapter.model.quantity import Comparator, Interval

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "mappings/sdtm"
STUDY_FILE = ROOT / "mappings/protocols/NCT03864250/sdtm.yaml"
ZONE = ZoneInfo("Asia/Shanghai")
KEY = b"0123456789abcdef0123456789abcdef"
SNAPSHOT = datetime(2020, 7, 1, 12, 0, 0, tzinfo=UTC)
QUESTIONNAIRE = "https://trial-fhir-adapter.org/fhir/Questionnaire/NCT03864250-attestation"


def study(**changes: Any) -> StudyConfig:
    """The real study file with a made-up site, log and criteria."""
    base = msgspec.structs.replace(
        load_study(STUDY_FILE),
        site_id="SITE01",
        laboratories={"Organization/CANARY-lab": "CENTRAL"},
        numbers=SubjectNumbers({"CANARY-p1": "001-001", "CANARY-p2-old": "001-002"}),
        criteria=(
            Criterion("INCL01", "Age: 18 - 80 years", "INCLUSION"),
            Criterion("INCL034", "High risk, or > 6 months without remission and ≥ 3.5 g/24h", "INCLUSION"),
            Criterion("EXCL06", "ALT, AST or total bilirubin beyond 1.5 times upper limit", "EXCLUSION"),
            Criterion("EXCL11", "Unable to comply", "EXCLUSION"),
        ),
        versions={"terminology": "test"},
    )
    return msgspec.structs.replace(base, **changes)


def on(text: str) -> PartialDate:
    parsed = parse_date(text, ZONE)
    assert parsed is not None
    return parsed


def maybe(text: str) -> PartialDate | None:
    return on(text) if text else None


def number(text: str) -> Fraction:
    return Fraction(text)


def person(subject: str, birth: str = "1970-06-15", **more: Any) -> Subject:
    return Subject(
        subject, Source(f"Patient/{subject}"), sex=more.pop("sex", "male"), birth=maybe(birth), **more
    )


def lab(
    subject: str,
    concept: str,
    value: str | None,
    unit: str,
    start: str,
    *,
    end: str = "",
    source: str = "",
    comparator: Comparator = "",
    original: str | None = None,
    original_unit: str | None = None,
    limits: tuple[str | None, str | None] | None = None,
    **more: Any,
) -> Finding:
    """A laboratory finding; the original defaults to comparator and value in the canonical unit."""
    low, high = limits or (None, None)
    return Finding(
        subject=subject,
        concept=concept,
        source=Source(source or f"Observation/CANARY-{subject}-{concept}-{start}"),
        category=more.pop("category", "laboratory"),
        value=None if value is None else Interval.reported(Fraction(value), comparator),
        unit=unit,
        original=f"{comparator}{value or ''}" if original is None else original,
        original_unit=unit if original_unit is None else original_unit,
        range=ReferenceRange(maybe_number(low), maybe_number(high), "CANARY range") if limits else None,
        start=on(start),
        end=maybe(end),
        **more,
    )


def maybe_number(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)


def consent(
    subject: str, day: str, status: str = "active", policy: str = "NCT03864250", **more: Any
) -> Event:
    attributes = (("policy", policy), *more.pop("attributes", ()))
    return Event(
        subject, "research_consent", Source(f"Consent/CANARY-{subject}-{day}-{status}"), "consent",
        start=maybe(day), status=status, attributes=attributes, **more,
    )  # fmt: skip


def enrolment(
    subject: str, day: str, status: str = "on-study", arm: str = "", study_id: str = "NCT03864250"
) -> Event:
    return Event(
        subject, "research_subject", Source(f"ResearchSubject/CANARY-{subject}-{status}"), "research-subject",
        start=on(day), status=status,
        attributes=(("assigned_arm", arm), ("study", f"ResearchStudy/{study_id}")),
    )  # fmt: skip


def diagnosis(subject: str, concept: str, start: str, **more: Any) -> Event:
    return Event(
        subject, concept, Source(f"Condition/CANARY-{subject}-{concept}-{start}"), "diagnosis",
        code=more.pop("code", Coding("http://hl7.org/fhir/sid/icd-10", "N04.2", "CANARY 膜性肾病 张三")),
        start=maybe(start), **more,
    )  # fmt: skip


def drug(
    subject: str, concept: str, kind: str, start: str, end: str = "", dose: str = "", **more: Any
) -> Intervention:
    return Intervention(
        subject=subject,
        concept=concept,
        source=Source(more.pop("source", f"Medication/CANARY-{subject}-{concept}-{kind}-{start}-{dose}")),
        kind=kind,  # type: ignore[arg-type]
        code=more.pop("code", Coding("http://www.whocc.no/atc", "L04AD02", "CANARY 他克莫司")),
        dose=Fraction(dose) if dose else None,
        dose_unit=more.pop("dose_unit", "mg" if dose else ""),
        start=maybe(start),
        end=maybe(end),
        exposure_end=maybe(more.pop("exposure_end", end)),
        indication="CANARY indication",
        **more,
    )


def decision(subject: str, day: str, **verdicts: tuple[str, Verdict]) -> Decision:
    results = tuple(
        CriterionResult(name, kind, verdict, "CANARY reason")  # type: ignore[arg-type]
        for name, (kind, verdict) in verdicts.items()
    )
    failed = any(verdict is not Verdict.UNKNOWN for _, verdict in verdicts.values())
    overall = Overall.INELIGIBLE if failed else Overall.UNDETERMINED
    return Decision(subject, "NCT03864250", "2019-06-25", date.fromisoformat(day), overall, results)


@dataclass(frozen=True)
class Case:
    facts: Facts
    decisions: tuple[Decision, ...] = ()
    study: StudyConfig = study()  # noqa: RUF009 - frozen data

    def build(self, specs: Specs | None = None) -> Build:
        return build_sdtm(
            self.facts,
            self.decisions,
            study=self.study,
            specs=specs or SPECIFICATIONS,
            key=KEY,
            snapshot_time=SNAPSHOT,
        )

    def rows(self, name: str) -> list[dict[str, Cell]]:
        return dataset(self.build(), name).records()


SPECIFICATIONS = load_specs(SPECS)


def dataset(build: Build, name: str) -> Dataset:
    return next(one for one in build.datasets if one.name == name)


def of(*rows: Subject | Finding | Event | Intervention) -> Facts:
    return Facts(
        subjects=tuple(row for row in rows if isinstance(row, Subject)),
        findings=tuple(row for row in rows if isinstance(row, Finding)),
        events=tuple(row for row in rows if isinstance(row, Event)),
        interventions=tuple(row for row in rows if isinstance(row, Intervention)),
    )


def enrolled(*rows: Finding | Event | Intervention, dosed: str = "2019-06-03T08:00:00+08:00") -> Case:
    """One enrolled man, p1, in the tacrolimus arm: consent 2019-05-20, first dose 2019-06-03 08:00."""
    p1 = "CANARY-p1"
    basis: list[Any] = [person(p1), consent(p1, "2019-05-20"), enrolment(p1, "2019-06-03", arm="TAC")]
    if dosed:
        basis.append(drug(p1, "tacrolimus", "administration", dosed, "", "1.5"))
    return Case(of(*basis, *rows))
