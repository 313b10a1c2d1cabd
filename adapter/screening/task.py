"""What one screening is of: a trial, a workspace, a day; and what it reads besides the landing."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from adapter import attestations
from adapter import certificate as certificates
from adapter.model.certificate import Certificate
from adapter.model.resource import RawResource
from adapter.source.landing import Landing
from adapter.trial import Trial, Workspace, versions_of


class Answers(NamedTuple):
    """What people answered on our own pages: how many answers there are, and those of the nominated."""

    given: int
    asked: tuple[RawResource, ...]


class Task(NamedTuple):
    """With ``full`` nothing of a former screening is reused; the result is the same bytes."""

    trial: Trial
    workspace: Workspace
    as_of: date
    full: bool = False

    def answers(self, wanted: frozenset[str]) -> Answers:
        """Answers are read beside what was landed."""
        given = attestations.own_answers(self.workspace, self.trial.protocol.questionnaire)
        return Answers(len(given), tuple(one for one in given if attestations.about(one) in wanted))

    def versions(self, landing: Landing) -> tuple[Certificate, dict[str, str]]:
        """The certificate of the landing, and hashes of everything the verdicts depend on."""
        certificate = certificates.certificate_of(self.trial, landing)
        versions = versions_of(self.trial, landing)
        versions["coverage_sha256"] = certificates.sha256_of(certificate)
        answers = attestations.own_answers(self.workspace, self.trial.protocol.questionnaire)
        if answers:
            versions["attestations_sha256"] = attestations.sha256_of(answers)
        return certificate, versions
