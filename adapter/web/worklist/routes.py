"""Addresses of the worklist, the patient page and the study page; each says who may use it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse

from adapter.access import Principal
from adapter.errors import ConfigError
from adapter.web.access import Denied, allowed
from adapter.web.frame import Pages, language_for
from adapter.web.worklist import patient
from adapter.web.worklist.counter import Counter
from adapter.web.worklist.patient import see_other
from adapter.worklist.board import Board
from adapter.worklist.candidate import CAUSES, MARKS, STATES
from adapter.worklist.listing import SORTS, asked_for, counts, page
from adapter.worklist.person import names_of, texts_of
from adapter.worklist.study import study

_LIST = "/worklist"
Sees = Annotated[Principal, Depends(allowed("see-results"))]
SeesStudy = Annotated[Principal, Depends(allowed("see-study"))]


def router(counter: Counter, pages: Pages) -> APIRouter:
    """``/worklist`` and everything below it, and ``/study``."""
    routes = APIRouter(default_response_class=HTMLResponse)
    _list_pages(routes, counter, pages)
    patient.add(routes, counter, pages)

    @routes.get("/study")
    def study_page(request: Request, principal: SeesStudy) -> Response:
        board = _board(counter)
        if board is None:
            return pages.show(request, principal, "worklist/empty.html")
        language = language_for(request)
        shown = study(board)
        counter.seen(principal, "study", as_of=board.as_of.isoformat())
        return pages.show(
            request,
            principal,
            "worklist/study.html",
            study=shown,
            sentences=texts_of(counter.trial.protocol, language),
            names=names_of(board, language),
            protocol=counter.trial.protocol,
        )

    return routes


def _list_pages(routes: APIRouter, counter: Counter, pages: Pages) -> None:
    @routes.get(_LIST)
    def worklist(request: Request, principal: Sees) -> Response:
        board = _board(counter)
        if board is None:
            return pages.show(request, principal, "worklist/empty.html")
        asked = asked_for(request.query_params.multi_items())
        waiting = counter.waiting()
        found = page(board.rows, asked, waiting=waiting)
        counter.seen(principal, "worklist", shown=len(found.rows), query=asked.query())
        language = language_for(request)
        return pages.show(
            request,
            principal,
            "worklist/list.html",
            asked=asked,
            page=found,
            waiting=waiting,
            stands=counter.casebook.stands([row.subject for row in found.rows]),
            counts=counts(board.rows),
            funnel=board.summary.funnel,
            as_of=board.as_of,
            views=counter.casebook.views(principal.account),
            sentences=texts_of(counter.trial.protocol, language),
            names=names_of(board, language),
            choices={"state": STATES, "cause": CAUSES, "mark": MARKS, "sort": SORTS},
            approval=counter.trial.site.approval,
            missing=request.query_params.get("found") == "no",
            run=counter.runs.state,
        )

    @routes.get(f"{_LIST}/run")
    def run(request: Request, principal: Sees) -> Response:
        """How far the run is, for a page that waits for it; when it has ended the page is loaded again."""
        state = counter.runs.state
        answer = pages.show(request, principal, "worklist/run.html", run=state)
        if state != "running":
            answer.headers["HX-Refresh"] = "true"
        return answer

    @routes.post(f"{_LIST}/find")
    def find(
        request: Request, principal: Sees, patient: Annotated[str, Form(max_length=100)] = ""
    ) -> Response:
        """To somebody's page by Patient.id, which is posted so that no address ever holds it."""
        board = _board(counter)
        key = board.key_of(patient.strip().removeprefix("Patient/")) if board is not None else ""
        return see_other(f"{_LIST}/patients/{key}" if key else f"{_LIST}?found=no")

    @routes.post(f"{_LIST}/views")
    def keep(
        request: Request,
        principal: Sees,
        name: Annotated[str, Form(max_length=200)] = "",
        query: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        pairs = [(key, value) for key, _, value in (part.partition("=") for part in query.split("&"))]
        asked = asked_for(pairs)
        try:
            counter.casebook.keep_view(principal.account, name, asked.query())
        except ConfigError:
            raise Denied(422, "a view needs a name") from None
        return see_other(f"{_LIST}?{asked.query()}")

    @routes.post(f"{_LIST}/views/drop")
    def drop(request: Request, principal: Sees, name: Annotated[str, Form(max_length=200)] = "") -> Response:
        counter.casebook.drop_view(principal.account, name)
        return see_other(_LIST)


def _board(counter: Counter) -> Board | None:
    try:
        return counter.board()
    except ConfigError:
        return None
