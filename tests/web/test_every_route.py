"""Every route of the application as every role, at the own place and at others: who is let through.

The routes are those the application has, so none can be forgotten; what is expected of a role stands here as
it was stated, apart from ``matrix.yaml``. A route that is open to all is named here with what guards it
instead."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from joserfc.jwk import ECKey

from adapter.access import MATRIX, Grant, Principal
from adapter.access.passwords import hash_password
from adapter.config import Channel, HookClient, Hooks, Launch, OpenId, SignIn
from adapter.pipeline import open_trial
from adapter.store.accounts import Accounts, new_token
from adapter.store.database import open_database
from adapter.trial import Workspace
from adapter.web.access import Inside, Premises, Route, Shut, routes_of
from adapter.web.app import create_app, people_of
from adapter.web.signin import Desk
from adapter.web.sponsor import Folders
from tests.web.browser import HERE, Browser, Clock, csrf_in

# Which roles may do what where they were granted: coordinator, investigator, sponsor, monitor, admin, and v
# for service. As users stated it (identity, results, audit, mappings), and as the work divides.
STATED = {
    "see-identity": "cimv",
    "see-results": "cimv",
    "see-study": "cim",
    "write-note": "ci",
    "attest": "ci",
    "approve-write-back": "i",
    "sign": "ci",
    "see-mappings": "cisma",
    "propose-mapping": "c",
    "approve-mapping": "i",
    "read-datasets": "sm",
    "see-audit": "cisma",
    "verify-audit": "ima",
    "read-fhir": "cimv",
    "write-fhir": "v",
    "call-hooks": "v",
    "see-operations": "av",
    "use-own-account": "cisma",
}
LETTERS = dict(
    zip("cismav", ("coordinator", "investigator", "sponsor", "monitor", "admin", "service"), strict=True)
)
OPEN = (
    r"/sign-in|/sign-in/openid|/sign-in/openid/answer|/sign-out",  # the way in and out
    r"/language/{language}|/healthz|/readyz|/fhir/metadata|/fhir/{rest:path}",  # about nobody
    r"/subscriptions/.*",  # the channel's own secret; tests/spec/test_subscriptions.py
    r"/sponsor/.*",  # a sponsor's own token; its own tests
    r"/cds-services.*",  # a signed token of the calling system; tests/spec/test_cds_hooks.py
    r"/launch.*",  # the launching system and its identity provider; tests/spec/test_smart_launch.py
)
# Guarded by what no role has: whoever is signed in here gets there what a stranger gets.
OTHERWISE = {
    ("POST", "/subscriptions/{channel}"): {401},
    ("POST", "/cds-services/{service}"): {401},
    ("POST", "/cds-services/{service}/feedback"): {401},
    ("GET", "/launch"): {403},
    ("GET", "/launch/answer"): {403},
}
ROOMS = {
    "account", "audit", "cds-services", "datasets", "fhir", "healthz", "language", "launch", "mappings",
    "metrics", "operations", "readyz", "sign-in", "sign-out", "sponsor", "study", "subscriptions", "worklist",
    "",
}  # fmt: skip
REFUSALS = {401: "sign in first", 403: "your role does not allow this", 404: "you have no role at this place"}
END = "2099-01-01T00:00:00+00:00"


class Whoever(NamedTuple):
    """Somebody with one grant, and whether it is for the place that is served."""

    role: str
    study: str
    site: str
    here: bool


class Served(NamedTuple):
    app: FastAPI
    study: str
    site: str
    desk: Desk

    def let_in(self, principal: Principal | None) -> None:
        gate = Shut() if principal is None else Inside(principal)
        self.app.state.premises = Premises(self.study, self.site, gate, Clock())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Everything that can be switched on, on an empty workspace."""
    folder: Path = tmp_path_factory.mktemp("every-route")
    (folder / "secret").write_bytes(b"the whole header of the lab")
    (folder / "jwks").write_text(json.dumps({"keys": [ECKey.generate_key("P-384").as_dict(private=False)]}))
    trial = open_trial()
    openid = OpenId("https://login.hospital.example", "adapter")
    site = msgspec.structs.replace(
        trial.site,
        subscriptions={"lab": Channel(header_file=str(folder / "secret"))},
        sign_in=SignIn(openid=openid),
        launch={"ehr": Launch("https://ehr.hospital.example/fhir", "adapter")},
        hooks=Hooks(
            "http://127.0.0.1", {"his": HookClient("https://his.example", jwks_file=str(folder / "jwks"))}
        ),
    )
    trial = trial._replace(site=site)
    engine = open_database(folder / "adapter.sqlite")
    here = Workspace(folder)
    app = create_app(
        engine,
        Clock(),
        site,
        study=trial.protocol.id,
        packages=Folders(here.snapshots, folder / "served"),
        people=people_of(trial, here, engine),
        trial=trial,
    )
    yield Served(app, trial.protocol.id, site.site_id, app.state.premises.gate)
    engine.dispose()


def everybody(served: Served) -> Iterator[Whoever]:
    for role in MATRIX.roles:
        yield Whoever(role, served.study, served.site, True)
        yield Whoever(role, served.study, "another-site", False)
        yield Whoever(role, "another-study", served.site, False)
        allowed = set(MATRIX.roles[role].any)
        for name in ("study", "site"):
            place = {"study": served.study, "site": served.site, name: "*"}
            yield Whoever(role, place["study"], place["site"], name in allowed)
        yield Whoever(role, "*", "*", False)


def address(route: Route) -> str:
    values = {"kind": "Flag", "number": "1", "version": "1", "language": "en", "channel": "lab"}
    return re.sub(r"{(\w+)(?::path)?}", lambda found: values.get(found[1], "x1"), route.path)


async def ask(served: Served, route: Route) -> tuple[int, str]:
    """Status, and the reason if it is one of the refusals of :mod:`adapter.web.access`."""
    transport = httpx.ASGITransport(served.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.request(
            route.method, address(route), headers={"Accept": "application/fhir+json"}
        )
    return answer.status_code, next((text for text in REFUSALS.values() if text in answer.text), "")


def closed(served: Served) -> list[Route]:
    """Closed by a role, and by nothing before it."""
    routes = (route for route in routes_of(served.app) if route.declared[0].action)
    return [route for route in routes if (route.method, route.path) not in OTHERWISE]


def test_what_is_stated_here_is_the_matrix() -> None:
    stated = {action: {LETTERS[letter] for letter in letters} for action, letters in STATED.items()}
    assert stated == {name: set(action.who) for name, action in MATRIX.actions.items()}


def test_every_route_is_closed_or_known_to_be_open(served: Served) -> None:
    strange = [
        f"{route.method} {route.path}"
        for route in routes_of(served.app)
        if not route.declared[0].action and not any(re.fullmatch(one, route.path) for one in OPEN)
    ]
    assert not strange, "open to everybody, and not named in OPEN"


def test_nothing_that_can_be_switched_on_is_left_out(served: Served) -> None:
    assert {route.path.split("/")[1] for route in routes_of(served.app)} == ROOMS
    unused = [
        one for one in OPEN if not any(re.fullmatch(one, route.path) for route in routes_of(served.app))
    ]
    assert unused == [], "named as open, and not there"


async def test_no_role_opens_what_is_guarded_otherwise(
    served: Served, record_property: Callable[[str, object], None]
) -> None:
    guarded = {
        (route.method, route.path): route
        for route in routes_of(served.app)
        if (route.method, route.path) in OTHERWISE or route.path.startswith("/sponsor/")
    }
    assert OTHERWISE.keys() < guarded.keys()
    asked = 0
    for whoever in (None, *everybody(served)):
        grants = () if whoever is None else (Grant(whoever.role, whoever.study, whoever.site, END),)
        served.let_in(None if whoever is None else Principal("x", grants, "X", "password"))
        for key, route in guarded.items():
            status, _ = await ask(served, route)
            assert status in OTHERWISE.get(key, {401, 429}), f"{whoever} {key}: {status}"
            asked += 1
    record_property("counts", f"guarded otherwise: {len(guarded)} routes, {asked} refused")


async def test_static_files_are_read_and_nothing_else(served: Served) -> None:
    served.let_in(None)
    transport = httpx.ASGITransport(served.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/static/adapter.css")).status_code == 200
        for outside in ("/static/", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
            assert (await client.get(outside)).status_code == 404, outside
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await client.request(method, "/static/adapter.css")).status_code == 405


async def test_every_role_on_every_route_at_every_place(
    served: Served, record_property: Callable[[str, object], None]
) -> None:
    counts: Counter[str] = Counter()
    wrong = []
    served.let_in(None)
    for route in closed(served):
        if await ask(served, route) != (401, REFUSALS[401]):
            wrong.append(f"nobody: {route.method} {route.path}")
        counts["nobody refused"] += 1
    for whoever in everybody(served):
        served.let_in(
            Principal("x", (Grant(whoever.role, whoever.study, whoever.site, END),), "X", "password")
        )
        letter = next(one for one, role in LETTERS.items() if role == whoever.role)
        for route in closed(served):
            may = whoever.here and letter in STATED[route.declared[0].action]
            status, refusal = await ask(served, route)
            if may:
                counts["let through"] += 1
                right = refusal == "" and status < 500
            else:
                counts["refused at the own place" if whoever.here else "refused elsewhere"] += 1
                right = status in (403, 404) and refusal == REFUSALS[status]
                right = right and (status == 403 if whoever.here else True)
            if not right:
                wrong.append(f"{whoever} {route.method} {route.path}: {status} {refusal}")
    assert not wrong, "\n".join(wrong[:20])
    told = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    record_property("counts", f"access matrix: {len(closed(served))} routes; {told}")
    assert counts["let through"] > 50
    assert counts["refused elsewhere"] > 500


async def test_every_unsafe_route_asks_for_origin_and_token(served: Served) -> None:
    """With a session of somebody who may do everything a person can: what another site's page would send."""
    password, clock = "four quiet lamps swim", Clock()
    people = [role for role in MATRIX.roles if role != "service"]
    grants = [Grant(role, served.study, served.site, END) for role in people]
    Accounts(served.desk.engine).add("all", "", hash_password(password), grants, now=clock(), by="root")
    served.app.state.premises = Premises(served.study, served.site, served.desk, clock)
    unsafe = [route for route in closed(served) if route.method not in ("GET", "HEAD")]
    assert len(unsafe) > 10
    async with Browser(served.app) as browser:
        assert (await browser.sign_in("all", password)).status_code == 303
        token = csrf_in(await browser.open("/"))
        browser.headers["Accept"] = "application/fhir+json"
        for route in unsafe:
            for headers in (
                {"Origin": HERE},
                {"Origin": HERE, "X-CSRF-Token": "0" * 64},
                {"Origin": "https://evil.example", "X-CSRF-Token": token},
                {"X-CSRF-Token": token},
            ):
                answer = await browser.request(route.method, address(route), headers=headers)
                assert answer.status_code == 403, f"{route.method} {route.path}"
                assert "did not come from a page" in answer.text
            right = {"Origin": HERE, "X-CSRF-Token": token}
            answer = await browser.request(route.method, address(route), headers=right)
            assert "did not come from a page" not in answer.text


ABOUT_NOBODY = {"/language/{language}", "/fhir/metadata", "/fhir/{rest:path}", "/cds-services"}


async def test_without_its_database_nothing_is_open(served: Served, tmp_path: Path) -> None:
    """Who asks cannot be told then: neither a session nor a service's token lets anybody in. What a
    role closes is 503; what proves itself otherwise proves nothing."""
    password, clock, engine = "four quiet lamps swim", Clock(), served.desk.engine
    accounts, (token, kept) = Accounts(engine), new_token("robot")
    grant = Grant("coordinator", served.study, served.site)
    accounts.add("away", "", hash_password(password), [grant], now=clock(), by="root")
    accounts.add("robot", "", kept, [Grant("service", served.study, served.site)], now=clock(), by="root")
    served.app.state.premises = Premises(served.study, served.site, served.desk, clock)
    database = Path(str(engine.url.database))
    async with Browser(served.app) as person, Browser(served.app) as service:
        assert (await person.sign_in("away", password)).status_code == 303
        service.headers["Authorization"] = f"Bearer {token}"
        for one in (person, service):
            one.headers["Accept"] = "application/fhir+json"
            assert (await one.get("/fhir/Flag")).status_code == 200
        database.parent.rename(tmp_path / "away")
        engine.dispose()
        try:
            found = {
                (
                    route,
                    (await one.request(route.method, address(route), headers={"Origin": HERE})).status_code,
                )
                for one in (person, service)
                for route in routes_of(served.app)
                if route.path not in ABOUT_NOBODY
            }
        finally:
            (tmp_path / "away").rename(database.parent)
    by_role = closed(served)
    assert {(route.path, status) for route, status in found if route in by_role and status != 503} == set()
    assert {(route.path, status) for route, status in found if status not in (401, 403, 503)} == set()
