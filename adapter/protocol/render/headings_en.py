"""English: headings and standing sentences of the page, by the same keys as the Chinese ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "generated": "Written by `adapter render --as page --lang en` from `{file}`; edit that file, "
        "not this page.",
        "unreviewed": "Nothing here has been reviewed by a clinician or by the sponsor.",
        "three": "Every rule is met, not met or unknown. What is not on record is unknown, never “no”. For "
        "an exclusion, met means that it excludes. Other readings of a sentence are evaluated beside ours "
        "and a difference is shown; they never decide.",
        "version": "Version",
        "source": "Source",
        "enrolment": "Planned enrolment",
        "arm": "Arm",
        "overall": "Overall verdict",
        "overall_rule": "Ineligible if a counted inclusion is not met or a counted exclusion is met; else "
        "undetermined if any of them is unknown; else eligible. Counted: {ids}.",
        "candidates": "Who is looked at",
        "candidates_rule": "Anyone with a record of: {names}.",
        "unless": "Not those for whom this is known to hold:",
        "inclusion": "Inclusion criteria",
        "exclusion": "Exclusion criteria",
        "endpoints": "Endpoints",
        "exits": "Exit criteria",
        "doses": "Dosing rules",
        "safety": "Safety",
        "deviations": "Protocol deviations",
        "responses": "Response at a visit",
        "visits": "Visits",
        "due": "What is due",
        "ladders": "Ladders",
        "rule": "Our rule.",
        "flags": "Flags shown beside the verdict:",
        "other_readings": "Other readings of the sentence:",
        "settles": "If unknown:",
        "pending": "Unknown is listed as pending.",
        "severity": "Severity: {severity}.",
        "at_visit": "Judged at visit {visit}.",
        "cases": "Worked cases that prove it:",
        "no_cases": "No worked case names it.",
        "case": "case",
        "as_of": "as of",
        "expected": "expected",
        "because": "because",
        "days": "Days that rules count from",
        "windows": "Windows",
        "readings": "Readings that rules name",
        "questions": "What only a person can say",
        "drugs": "Drugs that count",
        "name": "name",
        "meaning": "meaning",
        "question": "question",
        "used_by": "used by",
        "drug_group": "group",
        "members": "members",
        "visit": "visit",
        "day": "day",
        "window": "window",
        "from_day_zero": "Days count from {anchor}.",
        "reading": "reading",
        "counted_from": "counted from, if not from entry",
        "until": "Nothing becomes due whose window begins after {moment}.",
        "done_when": "done when",
        "severity.low": "low",
        "severity.medium": "medium",
        "severity.high": "high",
        "what": "what",
        "when": "when",
    }
)
