"""CDS Hooks as a caller meets them. What a card must hold is CDS Hooks 2.0's; what it says follows from the
record of NCT03864250, with the records of tests/spec/test_consult.py.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Engine

from adapter.config import HookClient, Hooks
from adapter.errors import ConfigError
from adapter.store import audit
from adapter.store.database import open_database, reading
from adapter.store.hook_log import HookLog
from adapter.trial import Trial, Workspace, open_trial
from adapter.web.app import create_app
from adapter.web.worklist import Counter
from tests.servers.ehr import Ehr
from tests.spec.test_consult import NOW, diagnosis, on_study, order, patient, weight

HERE = "http://127.0.0.1"
VIEW, SELECT, SIGN = (
    f"/cds-services/trial-{name}" for name in ("patient-view", "order-select", "order-sign")
)
EHR = Ehr("https://ehr.example")
OTHER = Ehr("https://other.example", "RS384")


@cache
def plain() -> Trial:
    return open_trial()


def trial_with(folder: Path, **clients: HookClient) -> Trial:
    for name, one in (("ehr", EHR), ("other", OTHER)):
        (folder / f"{name}.json").write_text(json.dumps(one.jwks()))
    known = clients or {
        "ehr": HookClient(EHR.iss, jwks_file=str(folder / "ehr.json")),
        "other": HookClient(OTHER.iss, jwks_file=str(folder / "other.json")),
    }
    hooks = Hooks(HERE, known, language="en")
    return plain()._replace(site=msgspec.structs.replace(plain().site, hooks=hooks))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


@pytest.fixture
async def http(engine: Engine, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    trial = trial_with(tmp_path)
    app = create_app(engine, lambda: NOW, trial.site, study=trial.protocol.id, trial=trial)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
        yield client


def bundle(*resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    entries = [{"resource": one, "search": {"mode": "match"}} for one in resources]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries, **more}


def sent(discovered: dict[str, Any], *resources: dict[str, Any]) -> dict[str, Any]:
    """A whole prefetch: every template that discovery asks for, answered."""
    found = {}
    for key, template in discovered["services"][0]["prefetch"].items():
        kind = template.split("?")[0].split("/")[0]
        own = [one for one in resources if one["resourceType"] == kind]
        found[key] = own[0] if "?" not in template and own else bundle(*own) if "?" in template else None
    return found


async def prefetch(http: httpx.AsyncClient, *resources: dict[str, Any]) -> dict[str, Any]:
    return sent((await http.get("/cds-services")).json(), *resources)


def call(hook: str = "patient-view", **more: Any) -> dict[str, Any]:
    context = {"userId": "Practitioner/1", "patientId": "p1", **more.pop("context", {})}
    return {"hook": hook, "hookInstance": str(uuid.uuid4()), "context": context, **more}


async def post(
    http: httpx.AsyncClient, path: str, body: Any, token: str = "", **headers: str
) -> httpx.Response:
    bearer = token or EHR.token(HERE + path, NOW)
    return await http.post(path, json=body, headers={"Authorization": f"Bearer {bearer}", **headers})


def valid(cards: list[dict[str, Any]]) -> None:
    """CDS Hooks 2.0, "Card attributes"."""
    for card in cards:
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert card["source"]["label"]
        uuid.UUID(card["uuid"])
        for link in card["links"]:
            assert link["label"]
            assert link["type"] in ("absolute", "smart")
            assert link["url"].startswith(HERE)
        for reason in card.get("overrideReasons", []):
            assert reason["code"]
            assert reason["system"]
            assert reason["display"]


async def test_discovery(http: httpx.AsyncClient) -> None:
    found = (await http.get("/cds-services")).json()["services"]
    assert {one["id"]: one["hook"] for one in found} == {
        "trial-patient-view": "patient-view",
        "trial-order-select": "order-select",
        "trial-order-sign": "order-sign",
    }
    for one in found:
        assert one["description"]
        assert one["prefetch"]["patient"] == "Patient/{{context.patientId}}"
        assert one["prefetch"]["observation"] == "Observation?patient={{context.patientId}}"


async def test_a_candidate_is_told_with_what_is_missing_and_why(http: httpx.AsyncClient) -> None:
    body = call(prefetch=await prefetch(http, patient(), diagnosis()))
    answer = await post(http, VIEW, body)
    assert answer.status_code == 200
    (card,) = answer.json()["cards"]
    valid([card])
    assert card["summary"].startswith("NCT03864250: may be eligible; ")
    assert "INCL01" in card["detail"]
    assert card["links"][0]["url"].startswith(f"{HERE}/worklist/patients/")
    assert "p1" not in card["links"][0]["url"]
    again = (await post(http, VIEW, body)).json()["cards"]
    assert again == [card]


async def test_in_chinese_to_who_asks_for_it(http: httpx.AsyncClient) -> None:
    body = call(prefetch=await prefetch(http, patient(), diagnosis()))
    (card,) = (await post(http, VIEW, body, **{"Accept-Language": "zh-CN,zh;q=0.9"})).json()["cards"]
    assert "可能符合入组条件" in card["summary"]


async def test_nothing_to_say_is_no_card(http: httpx.AsyncClient) -> None:
    body = call(prefetch=await prefetch(http, patient(), weight(70)))
    assert (await post(http, VIEW, body)).json() == {"cards": []}


ERROR = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("absent", "not sent"),
        (None, "not sent"),
        (ERROR, "answered with an error"),
        (bundle(link=[{"relation": "next", "url": "https://x/?page=2"}]), "first page"),
        (bundle(total=3), "0 of 3"),
        ({**bundle(), "entry": [{"resource": ERROR, "search": {"mode": "outcome"}}]}, "reports errors"),
        ({"resourceType": "Patient", "id": "p1"}, "not what was asked for"),
        ({"resourceType": 7}, "no FHIR resource"),
    ],
)
async def test_what_did_not_come_is_said_and_is_unknown(
    http: httpx.AsyncClient, condition: Any, words: str
) -> None:
    given = await prefetch(http, patient(), weight(70))
    given["condition"] = condition
    if condition == "absent":
        del given["condition"]
    (card,) = (await post(http, VIEW, call(prefetch=given))).json()["cards"]
    valid([card])
    assert "could not be checked" in card["summary"]
    assert f"Condition: {words}" in card["detail"] or words in card["detail"]
    assert card["detail"].count("- ") == 1


async def test_a_record_linked_to_another_is_not_whole(http: httpx.AsyncClient) -> None:
    linked = {**patient(), "link": [{"other": {"reference": "Patient/p9"}, "type": "replaces"}]}
    (card,) = (await post(http, VIEW, call(prefetch=await prefetch(http, linked)))).json()["cards"]
    assert "linked" in card["detail"]


async def test_what_is_of_somebody_else_does_not_count(http: httpx.AsyncClient) -> None:
    foreign = {**diagnosis(), "subject": {"reference": "Patient/p2"}}
    assert (await post(http, VIEW, call(prefetch=await prefetch(http, patient(), foreign)))).json()[
        "cards"
    ] == []


async def test_without_any_data_it_is_412(http: httpx.AsyncClient) -> None:
    for body in (call(), call(prefetch={}), call(prefetch={"patient": None})):
        assert (await post(http, VIEW, body)).status_code == 412


def draft(*orders: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in orders]}


ENROLLED = (patient(), diagnosis(), weight(70), *on_study())


async def signed(
    http: httpx.AsyncClient, *orders: dict[str, Any], on: tuple[Any, ...] = ENROLLED
) -> list[Any]:
    body = call("order-sign", prefetch=await prefetch(http, *on), context={"draftOrders": draft(*orders)})
    cards: list[Any] = (await post(http, SIGN, body)).json()["cards"]
    valid(cards)
    return cards


async def test_a_dose_above_the_limit_and_a_prohibited_drug(http: httpx.AsyncClient) -> None:
    high = order("他克莫司胶囊", 3.6, id="o1")
    other = order("环磷酰胺片", 50, id="o2")
    fine = order("他克莫司胶囊", 3.5, id="o3")
    (card,) = await signed(http, high)
    assert (card["indicator"], "A5" in card["summary"]) == ("warning", True)
    assert "0.1 mg/kg/d" in card["detail"]
    assert {one["code"] for one in card["overrideReasons"]} >= {"study-team-agreed"}
    (card,) = await signed(http, other)
    assert "X4" in card["summary"]
    assert await signed(http, fine) == []


async def test_an_unknown_is_told_as_unknown(http: httpx.AsyncClient) -> None:
    no_weight = (patient(), diagnosis(), *on_study())
    (card,) = await signed(http, order("他克莫司胶囊", 3), on=no_weight)
    assert (card["indicator"], "not known" in card["summary"]) == ("info", True)
    assert "overrideReasons" not in card


async def test_orders_are_not_checked_where_enrolment_is_not_known(http: httpx.AsyncClient) -> None:
    given = await prefetch(http, *ENROLLED)
    given["researchSubject"] = ERROR
    body = call("order-sign", prefetch=given, context={"draftOrders": draft(order("环磷酰胺片", 50))})
    cards = (await post(http, SIGN, body)).json()["cards"]
    assert "not known whether the patient is on the study" in cards[0]["summary"]


async def test_with_order_select_only_what_was_selected_counts(http: httpx.AsyncClient) -> None:
    orders = draft(order("环磷酰胺片", 50, id="o1"), order("他克莫司胶囊", 3.5, id="o2"))
    for selected, cards in (("MedicationRequest/o1", 1), ("MedicationRequest/o2", 0)):
        context = {"draftOrders": orders, "selections": [selected]}
        body = call("order-select", prefetch=await prefetch(http, *ENROLLED), context=context)
        assert len((await post(http, SELECT, body)).json()["cards"]) == cards


AT = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"aud": HERE + SIGN}, "aud"),
        ({"aud": HERE}, "aud"),
        ({"aud": None}, "aud"),
        ({"iss": "https://stranger.example"}, "iss"),
        ({"iss": OTHER.iss}, "signature"),
        ({"exp": AT - 61}, "exp"),
        ({"exp": AT + 3600}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"iat": AT + 120}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": AT + 120}, "iat"),
        ({"jti": None}, "jti"),
        ({"jti": ""}, "jti"),
        ({"header": {"alg": "none"}}, "alg"),
        ({"header": {"alg": "HS256"}}, "alg"),
        ({"header": {"alg": "ES256"}}, "alg"),
        ({"header": {"kid": "unknown"}}, "signature"),
        ({"header": {"crit": ["b64"], "b64": False}}, "token"),
    ],
)
async def test_a_statement_that_is_not_right_proves_nothing(
    http: httpx.AsyncClient, changed: dict[str, Any], reason: str
) -> None:
    token = EHR.token(changed.pop("aud", HERE + VIEW), NOW, **changed)
    answer = await post(http, VIEW, call(prefetch={}), token)
    assert answer.status_code == 401
    assert reason in answer.json()["title"]


@pytest.mark.parametrize("header", ["", "Bearer", "Basic x", "Bearer a.b.c", "Bearer " + "A" * 5000])
async def test_without_a_statement_nobody_is_answered(http: httpx.AsyncClient, header: str) -> None:
    for path in (VIEW, f"{VIEW}/feedback", "/cds-services/none"):
        answer = await http.post(path, json=call(prefetch={}), headers={"Authorization": header})
        assert answer.status_code == 401


async def test_a_statement_counts_once(http: httpx.AsyncClient) -> None:
    token = OTHER.token([HERE + VIEW, "https://elsewhere"], NOW)
    body = call(prefetch=await prefetch(http, patient()))
    assert (await post(http, VIEW, body, token)).status_code == 200
    assert (await post(http, VIEW, body, token)).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/cds-services/none", call(prefetch={}), 404),
        (SIGN, call(prefetch={}), 400),
        (VIEW, {"hook": "patient-view"}, 400),
        (VIEW, call(context={"patientId": "../x"}, prefetch={}), 400),
        (VIEW, "text", 400),
        (VIEW, [], 400),
    ],
)
async def test_a_call_that_is_none(http: httpx.AsyncClient, path: str, body: Any, status: int) -> None:
    assert (await post(http, path, body)).status_code == status


async def test_feedback_is_kept_once_and_audited(http: httpx.AsyncClient, engine: Engine) -> None:
    (card,) = await signed(http, order("环磷酰胺片", 50))
    reason = {"reason": {"code": "clinically-necessary", "system": "x"}, "userComment": "王医生：病情需要"}
    told = {
        "card": card["uuid"],
        "outcome": "overridden",
        "overrideReason": reason,
        "outcomeTimestamp": "2026-03-02T09:01:00Z",
    }
    path = f"{SIGN}/feedback"
    for _ in range(2):
        assert (await post(http, path, {"feedback": [told]})).status_code == 200
    (kept,) = HookLog(engine).feedback(card["uuid"])
    assert (kept.outcome, kept.reason, kept.comment) == (
        "overridden",
        "clinically-necessary",
        "王医生：病情需要",
    )
    with reading(engine) as connection:
        rows = [row for row in audit.links(connection) if row.action in ("advise", "feedback")]
    assert [row.action for row in rows] == ["advise", "feedback"]
    assert rows[0].actor == "hooks:ehr"
    assert "王医生" not in str(rows)
    unknown = {**told, "card": str(uuid.uuid4())}
    assert (await post(http, path, {"feedback": [unknown]})).status_code == 404
    theirs = OTHER.token(HERE + path, NOW)
    assert (await post(http, path, {"feedback": [told]}, theirs)).status_code == 404


def test_a_caller_without_keys_is_refused_at_once(tmp_path: Path, engine: Engine) -> None:
    for wrong in (HookClient("https://x"), HookClient("https://x", "https://x/jwks", "also.json")):
        trial = trial_with(tmp_path, x=wrong)
        with pytest.raises(ConfigError):
            create_app(engine, lambda: NOW, trial.site, study="x", trial=trial)


def coded(code: str) -> dict[str, Any]:
    coding = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": code, "display": "某药"}
    return order("", 50, medicationCodeableConcept={"coding": [coding]})


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_drug_mapped_meanwhile_is_judged_without_a_restart(
    engine: Engine, tmp_path: Path, workers: int
) -> None:
    """No table knows the drug: that is said. Somebody maps it to cyclophosphamide: the next order breaks the
    protocol's fourth reason to leave."""
    shutil.copytree(plain().mappings, tmp_path / "mappings")
    known = trial_with(tmp_path)
    hooks = msgspec.structs.replace(known.site.hooks, workers=workers)
    site = msgspec.structs.replace(known.site, hooks=hooks)
    trial = known._replace(mappings=tmp_path / "mappings", site=site)
    people = Counter(trial, Workspace(tmp_path / "work", embedded=True), engine, lambda: NOW)
    app = create_app(engine, lambda: NOW, site, study=trial.protocol.id, people=people)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as http,
    ):
        own = (patient(), diagnosis(), weight(70), *on_study())
        drafts = {"draftOrders": bundle(coded("X77"))}
        body = call("order-sign", context=drafts, prefetch=await prefetch(http, *own))
        (card,) = (await post(http, SIGN, body)).json()["cards"]
        assert card["indicator"] == "info"
        assert "this drug is not mapped, so it was not checked" in card["summary"]
        assert "rxnorm" in card["detail"]
        assert "X77" in card["detail"]

        rows = tmp_path / "mappings" / "drugs.csv"
        [former] = [one for one in rows.read_text().splitlines() if one.startswith("cyclophosphamide,")]
        rows.write_text(rows.read_text().replace(former, former.replace("安道生", "安道生;某药")))
        mapped = open_trial(trial.folder, site.site_id, trial.mappings)._replace(site=site)
        people.trial = people.runs.trial = mapped
        (card,) = (await post(http, SIGN, body)).json()["cards"]
        assert (card["indicator"], "X4" in card["summary"]) == ("warning", True)
