"""The page of one person: evidence, course, what people wrote; answers, decisions, leave to write back."""

from __future__ import annotations

from datetime import date
from http import HTTPStatus
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from adapter import attestations
from adapter.access import Principal
from adapter.errors import AdapterError, ConfigError, NotFound
from adapter.store.casebook import STANDS, Stand
from adapter.store.ledger import receipts_of
from adapter.store.outbox import Leave, OutboxRow
from adapter.store.outbox_state import may as may_move
from adapter.web.access import Denied, allowed
from adapter.web.frame import TAGS, Pages, language_for
from adapter.web.signin import Signature, sign
from adapter.web.texts import Language, Voice
from adapter.web.worklist.counter import Counter
from adapter.worklist.board import Board
from adapter.worklist.candidate import Row
from adapter.worklist.chart import draw, readable
from adapter.worklist.person import BLOCKS, identity, names_of, person, texts_of
from adapter.worklist.questionnaire import Form as Questionnaire
from adapter.worklist.questionnaire import answers, form, said
from adapter.worklist.timeline import Span

_PAGE = "/worklist/patients/{key}"
Sees = Annotated[Principal, Depends(allowed("see-results"))]
Attests = Annotated[Principal, Depends(allowed("attest"))]
Writes = Annotated[Principal, Depends(allowed("write-note"))]
Approves = Annotated[Principal, Depends(allowed("approve-write-back"))]


def see_other(address: str) -> RedirectResponse:
    """After a form: on to a page that may be loaded again."""
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


def add(routes: APIRouter, counter: Counter, pages: Pages) -> None:
    """The routes below ``/worklist/patients``."""

    @routes.get(_PAGE)
    def patient_page(request: Request, principal: Sees, key: str) -> Response:
        board, row = _found(counter, key)
        language = language_for(request)
        asked = request.query_params.get("span", "all")
        span: Span = next((one for one in get_args(Span) if one == asked), "all")
        shown = person(board, row, language, span)
        names = names_of(board, language)
        voice = Voice(language)
        words = {
            **names,
            **{name: voice(f"chart.{name}") for name in ("entry", "research_consent", "adverse_event")},
            **{name: voice(f"response.{name}") for name in ("complete", "partial", "none", "relapse")},
        }
        counter.seen(
            principal, "patient", (f"Patient/{row.subject}",), fingerprint=shown.decision.fingerprint
        )
        questions = form(counter.trial.protocol, language)
        asked_links = {link for one in shown.waiting for link in one.questions}
        return pages.show(
            request,
            principal,
            "worklist/patient.html",
            row=row,
            person=shown,
            identity=identity(counter.workspace, (row.subject, *shown.merged)),
            chart=Markup(draw(shown.timeline, voice, words)),  # noqa: S704 - drawn by us, every text escaped
            span=span,
            spans=get_args(Span),
            names=words,
            blocks=BLOCKS,
            readable=readable,
            sentences=texts_of(counter.trial.protocol, language),
            questions=questions,
            blocking=[
                item for name in ("inclusion", "exclusion") for item in shown.blocks[name] if item.blocks
            ],
            said=TAGS[shown.said],
            reviews=[one for top in shown.decision.criteria for one in top.walk() if one.review],
            asks=[shown.needs[link] for link in asked_links if link in shown.needs],
            questions_asked={
                shown.needs[one.link]: one.text for one in (questions.questions if questions else ())
            },
            asked={one.link: one.text for one in (questions.questions if questions else ())},
            attested=_attested(counter, row, questions, language),
            notes=counter.casebook.notes(row.subject),
            stand=counter.casebook.stands([row.subject]).get(row.subject, ""),
            stands=STANDS,
            outbox=[
                (
                    one,
                    counter.outbox.approvals(one.number),
                    may_move("person", one.state, "approved"),
                    receipts_of(counter.engine, one.number),
                )
                for one in counter.outbox_of(row.subject)
            ],
            approval=counter.trial.site.approval,
            run=counter.runs.state,
            failure=counter.runs.failure,
            whole=request.query_params.get("whole") == "1",
        )

    @routes.get(f"{_PAGE}/attest")
    def attest_form(request: Request, principal: Attests, key: str) -> Response:
        board, row = _found(counter, key)
        counter.seen(principal, "attest", (f"Patient/{row.subject}",))
        return _form(request, principal, board, row)

    def _form(
        request: Request,
        principal: Principal,
        board: Board,
        row: Row,
        given: dict[str, str] | None = None,
        wrong: str = "",
    ) -> Response:
        language = language_for(request)
        questions = form(counter.trial.protocol, language)
        if questions is None:
            raise Denied(404, "this study has no questionnaire")
        shown = person(board, row, language)
        needed = [link for one in shown.waiting for link in one.questions]
        return pages.show(
            request,
            principal,
            "worklist/attest.html",
            status=422 if wrong else 200,
            row=row,
            identity=identity(counter.workspace, (row.subject, *shown.merged)),
            form=questions,
            needed=needed,
            sentences=texts_of(counter.trial.protocol, language),
            given=given or {},
            wrong=wrong,
            day=min(board.as_of, counter.clock().astimezone(counter.trial.site.zone).date()),
        )

    @routes.post(f"{_PAGE}/attest")
    async def attest(request: Request, principal: Attests, key: str) -> Response:
        fields = {name: str(value) for name, value in (await request.form()).items()}
        return await run_in_threadpool(_attest, request, principal, key, fields)

    def _attest(request: Request, principal: Principal, key: str, fields: dict[str, str]) -> Response:
        board, row = _found(counter, key)
        questions = form(counter.trial.protocol, language_for(request))
        if questions is None:
            raise Denied(404, "this study has no questionnaire")
        given = {name.removeprefix("q-"): text for name, text in fields.items() if name.startswith("q-")}
        today = counter.clock().astimezone(counter.trial.site.zone).date().isoformat()
        day = fields.get("day", "")
        try:
            items = answers(questions, given)
        except ConfigError:
            return _form(request, principal, board, row, given, "unreadable")
        if not items:
            return _form(request, principal, board, row, given, "nothing")
        if not _is_day(day) or day > today:
            return _form(request, principal, board, row, given, "day")
        made = attestations.response(
            questions.canonical, row.subject, items, authored=day, author=principal.name or principal.account
        )
        attestations.record(counter.engine, made, principal.account, counter.clock())
        counter.runs.ask("screen", principal.account)
        return see_other(f"/worklist/patients/{key}")

    @routes.post(f"{_PAGE}/notes")
    def note(
        request: Request,
        principal: Writes,
        key: str,
        words: Annotated[str, Form(max_length=10000)] = "",
        stand: Annotated[str, Form(max_length=40)] = "",
        corrects: Annotated[int, Form()] = 0,
    ) -> Response:
        _, row = _found(counter, key)
        chosen: Stand = next((one for one in STANDS if one == stand), "")
        try:
            counter.casebook.write(
                row.subject, words, principal.account, counter.clock(), stand=chosen, corrects=corrects
            )
        except NotFound:
            raise Denied(404, "no such note") from None
        except ConfigError:
            raise Denied(422, "a note needs words") from None
        return see_other(f"/worklist/patients/{key}#notes")

    @routes.post(f"{_PAGE}/outbox/{{number}}")
    async def decide(
        request: Request,
        principal: Approves,
        key: str,
        number: int,
        verdict: Annotated[str, Form(max_length=20)] = "",
        reason: Annotated[str, Form(max_length=1000)] = "",
    ) -> Response:
        planned = await run_in_threadpool(_planned, key, number)
        leave: Leave | None = next((one for one in get_args(Leave) if one == verdict), None)
        if leave is None or not reason.strip():
            raise Denied(422, "a decision needs a reason")
        if not may_move("person", planned.state, leave):
            raise Denied(409, "it has changed in the meantime")
        signature = await sign(
            request,
            principal,
            record=f"outbox/{number}",
            record_sha256=planned.content_sha256,
            meaning="approval" if leave == "approved" else "rejection",
        )
        await run_in_threadpool(_decide, number, leave, reason.strip(), signature)
        return see_other(f"/worklist/patients/{key}#outbox")

    def _planned(key: str, number: int) -> OutboxRow:
        _, row = _found(counter, key)
        try:
            planned = counter.outbox.row(number)
        except NotFound:
            raise Denied(404, "nothing of this number") from None
        if planned.subject != row.subject:
            raise Denied(404, "nothing of this number about this person")
        return planned

    def _decide(number: int, leave: Leave, reason: str, signature: Signature) -> None:
        who, at = signature.account, signature.at
        try:
            counter.outbox.decide(number, leave, who, reason, at, signature.detail())
        except AdapterError:
            raise Denied(409, "it has changed in the meantime") from None
        if leave == "approved":
            counter.runs.ask("write", who)


def _attested(
    counter: Counter, row: Row, questions: Questionnaire | None, language: Language
) -> list[tuple[attestations.Json, list[tuple[attestations.Json, str]]]]:
    """Each response given here with its items, and each item's answer in words."""
    if questions is None:
        return []
    return [
        (one, [(item, said(item, questions, language)) for item in one.get("item", ())])
        for one in counter.attested(row.subject)
    ]


def _found(counter: Counter, key: str) -> tuple[Board, Row]:
    try:
        board = counter.board()
    except ConfigError:
        raise Denied(404, "nothing was screened here") from None
    row = board.row(key)
    if row is None:
        raise Denied(404, "there is nobody of this key here")
    return board, row


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
