"""Sign-in by OpenID Connect: through a certified provider, and with answers that somebody forged.

Expected refusals are those of OpenID Connect Core 1.0 (section 3.1.3.7), RFC 8725 and RFC 9207.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from sqlalchemy import Engine

from adapter.config import OpenId, RoleClaim, SignIn, Site
from adapter.store import audit
from adapter.store.database import open_database, reading
from adapter.store.sessions import Sessions
from adapter.web.app import create_app
from adapter.web.signin.openid import NotProven, Provider
from tests.servers import openid_provider
from tests.servers.process import ServerUnavailable
from tests.web.browser import Browser, Clock, csrf_in

ISSUER = "https://login.hospital.example/realm"
ROLES = (
    RoleClaim("coordinators", "coordinator", "S1"),
    RoleClaim("investigators", "investigator", "S1"),
    RoleClaim("coordinators of B", "coordinator", "S2"),
)
GROUPS = {"ann": ["coordinators", "cooks"], "pi": ["investigators"], "cook": ["cooks"]}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    try:
        openid_provider.prefetch()
    except ServerUnavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI requires a real OpenID provider: {reason}", pytrace=False)
        pytest.skip(f"no OpenID provider: {reason}")
    with openid_provider.running(GROUPS) as found:
        yield found


@pytest.fixture(params=["adapter", "secretive"])
def hospital(request: pytest.FixtureRequest, issuer: str, tmp_path: Path) -> Site:
    (tmp_path / "secret").write_text(openid_provider.SECRET + "\n")
    secret = str(tmp_path / "secret") if request.param == "secretive" else ""
    scopes = ("openid", "profile", "groups")
    openid = OpenId(issuer, request.param, ROLES, secret, "Hospital login", scopes=scopes)
    return Site(name="Hospital", site_id="A", sign_in=SignIn(openid=openid))


class Login:
    """A person's way through the provider's own pages, with a browser of its own for them."""

    def __init__(self) -> None:
        self.pages = httpx.AsyncClient(trust_env=False)

    async def go(self, asked: str, name: str) -> str:
        """From the address the adapter sends to, to the address the provider sends back to."""
        answer = await self.pages.get(asked)
        for _ in range(10):
            while answer.is_redirect:
                to = str(answer.url.join(answer.headers["location"]))
                if to.startswith("http://127.0.0.1:8765/"):
                    return to
                answer = await self.pages.get(to)
            action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
            assert action is not None, answer.text
            hidden = re.findall(r'name="(\w+)" value="([^"]*)"', answer.text)
            form = {**dict(hidden), "prompt": "login", "login": name, "password": "any"}
            answer = await self.pages.post(str(answer.url.join(action[1])), data=form)
        raise AssertionError("the provider never sent anybody back")


@pytest.fixture
async def login() -> AsyncIterator[Login]:
    made = Login()
    yield made
    await made.pages.aclose()


@pytest.fixture
async def browser(engine: Engine, hospital: Site) -> AsyncIterator[Browser]:
    async with Browser(create_app(engine, site=hospital, study="S1")) as made:
        yield made


async def enter(browser: Browser, login: Login, name: str, next: str = "/") -> httpx.Response:
    asked = (await browser.open("/sign-in/openid", params={"next": next})).headers["location"]
    return await browser.get(await login.go(asked, name))


async def test_sign_in_through_a_certified_provider(browser: Browser, login: Login, engine: Engine) -> None:
    page = await browser.open("/sign-in")
    assert "Sign in with Hospital login" in page.text
    answer = await enter(browser, login, "ann", "/?here=1")
    assert (answer.status_code, answer.headers.get("location")) == (303, "/?here=1"), answer.text
    page = await browser.open("/")
    assert "ann of the hospital" in page.text
    assert (await browser.submit("/sign-out", csrf=csrf_in(page))).status_code == 303
    with reading(engine) as connection:
        rows = list(audit.links(connection))
    assert [row.action for row in rows] == ["sign-in", "sign-out"]
    assert rows[0].actor.endswith("#ann")
    assert json.loads(rows[0].detail) == {"how": "openid", "name": "ann of the hospital"}


async def test_roles_come_from_claims_for_this_site_only(
    browser: Browser, login: Login, engine: Engine
) -> None:
    await enter(browser, login, "pi")
    browser.headers["Accept"] = "application/fhir+json"
    assert (await browser.get("/fhir/Flag")).status_code == 200
    with engine.connect() as connection:
        grants = connection.exec_driver_sql("SELECT grants FROM session").scalar_one()
    assert json.loads(grants) == [
        {"role": "investigator", "study": "S1", "site": "A", "until": "", "patient": ""}
    ]


async def test_whoever_has_no_role_here_is_not_let_in(browser: Browser, login: Login) -> None:
    answer = await enter(browser, login, "cook")
    assert (answer.status_code, "no role" in answer.text) == (403, True)
    assert browser.number() == ""


async def test_an_answer_counts_once_and_in_its_own_browser(
    browser: Browser, login: Login, engine: Engine, hospital: Site
) -> None:
    asked = (await browser.open("/sign-in/openid")).headers["location"]
    answer = await login.go(asked, "ann")
    async with Browser(create_app(engine, site=hospital, study="S1")) as other:
        stolen = await other.get(answer)
        assert (stolen.status_code, other.number()) == (403, "")
        await other.open("/sign-in/openid")
        assert (await other.get(answer)).status_code == 403
    assert (await browser.get(answer)).status_code == 303
    assert (await browser.get(answer)).status_code == 403


async def test_a_planted_session_is_not_taken_over(browser: Browser, login: Login) -> None:
    browser.cookies.set("session", "B" * 43, domain="127.0.0.1")
    await enter(browser, login, "ann")
    assert browser.number() not in ("", "B" * 43)


async def test_signing_in_again_ends_the_session_before(
    browser: Browser, login: Login, engine: Engine
) -> None:
    await enter(browser, login, "ann")
    before = browser.number()
    await enter(browser, login, "ann")
    assert browser.number() != before
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM session").scalar_one() == 1


async def test_signing_asks_for_the_same_person_again(
    browser: Browser, login: Login, engine: Engine, hospital: Site
) -> None:
    record = "a" * 64
    await enter(browser, login, "ann")
    before = browser.number()
    asked = (await browser.open("/sign-in/again", params={"record": record, "next": "/"})).headers["location"]
    assert parse_qs(urlsplit(asked).query)["prompt"] == ["login"]
    other = await browser.get(await login.go(asked, "pi"))
    assert (other.status_code, browser.number()) == (403, before)
    asked = (await browser.open("/sign-in/again", params={"record": record, "next": "/"})).headers["location"]
    assert (await browser.get(await login.go(asked, "ann"))).status_code == 303
    assert browser.number() != before
    found = Sessions(engine, idle=timedelta(minutes=15), longest=timedelta(minutes=15)).of(
        browser.number(), datetime.now(UTC)
    )
    assert found is not None
    assert found.proven_for == record
    assert (await browser.open("/sign-in/again", params={"record": "x"})).status_code == 403


class Forger:
    """An OpenID provider in a few lines, whose ID tokens a test writes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.published = [self.key]
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
        }
        self.token = ""
        self.asked: list[str] = []
        self.form: dict[str, list[str]] = {}

    def claims(self, **other: Any) -> dict[str, Any]:
        now = int(self.clock().timestamp())
        told = {"iss": ISSUER, "sub": "ann", "aud": "adapter", "exp": now + 300, "iat": now, "nonce": "n"}
        return {name: value for name, value in {**told, **other}.items() if value is not None}

    def signed(
        self, key: Any = None, alg: str = "RS256", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        key = key or self.key
        head = header if header is not None else {"alg": alg, "kid": key.kid}
        return jwt.encode(head, self.claims(**claims), key, algorithms=[alg])

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json=self.metadata)
        if request.url.path.endswith("/keys"):
            keys = [key.as_dict(private=False, use="sig") for key in self.published]
            return httpx.Response(200, json={"keys": keys})
        self.form = parse_qs(request.content.decode())
        return httpx.Response(200, json={"id_token": self.token, "access_token": "x", "token_type": "Bearer"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def forger(clock: Clock) -> Forger:
    return Forger(clock)


@pytest.fixture
def provider(forger: Forger, clock: Clock) -> Provider:
    return Provider(OpenId(ISSUER, "adapter", ROLES), clock, transport=httpx.MockTransport(forger.answer))


async def reason(provider: Provider, token: str, **more: Any) -> str:
    with pytest.raises(NotProven) as refused:
        await provider.verified(token, nonce="n", **more)
    return refused.value.reason


async def test_a_good_token_is_read(provider: Provider, forger: Forger) -> None:
    claims = await provider.verified(forger.signed(groups=["coordinators"], name="Ann"), nonce="n")
    person = provider.person(claims, "A")
    assert (person.account, person.name) == (f"{ISSUER}#ann", "Ann")
    assert [(one.role, one.study, one.site) for one in person.grants] == [("coordinator", "S1", "A")]
    both = await provider.verified(forger.signed(aud=["adapter", "other"], azp="adapter"), nonce="n")
    assert both["sub"] == "ann"


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": f"{ISSUER}/"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "other"}, "aud"),
        ({"aud": ["other"]}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["adapter", "other"]}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": True}, "exp"),
        ({"iat": None}, "iat"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"sub": ""}, "sub"),
        ({"sub": None}, "sub"),
        ({"sub": 7}, "sub"),
    ],
)
async def test_a_token_with_a_wrong_claim_proves_nothing(
    provider: Provider, forger: Forger, claims: dict[str, Any], word: str
) -> None:
    assert await reason(provider, forger.signed(**claims)) == word


async def test_a_token_has_its_time(provider: Provider, forger: Forger, clock: Clock) -> None:
    token = forger.signed()
    clock.go_on(seconds=359)
    assert (await provider.verified(token, nonce="n"))["sub"] == "ann"
    clock.go_on(seconds=1)
    assert await reason(provider, token) == "exp"
    now = int(clock().timestamp())
    assert await reason(provider, forger.signed(exp=now + 9999, iat=now - 700)) == "iat"
    assert await reason(provider, forger.signed(iat=now + 120)) == "iat"
    assert await reason(provider, forger.signed(nbf=now + 120)) == "nbf"
    assert await reason(provider, forger.signed(auth_time=now - 120), since=clock()) == "auth_time"
    assert await reason(provider, forger.signed(), since=clock()) == "auth_time"


async def test_a_token_that_another_signed_proves_nothing(provider: Provider, forger: Forger) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    assert await reason(provider, forger.signed(stranger)) == "signature"
    assert await reason(provider, forger.signed(RSAKey.generate_key(2048, {"kid": "two"}))) == "signature"
    good = forger.signed()
    head, body, signature = good.split(".")
    other = base64.urlsafe_b64encode(json.dumps(forger.claims(sub="pi")).encode()).rstrip(b"=").decode()
    assert await reason(provider, f"{head}.{other}.{signature}") == "signature"
    assert await reason(provider, f"{head}.{body}.") == "signature"
    assert await reason(provider, "nonsense") == "signature"


@pytest.mark.parametrize("alg", ["none", "None", "HS256"])
async def test_only_public_key_signatures_count(provider: Provider, forger: Forger, alg: str) -> None:
    """``none``, and the public key taken as a shared secret (RFC 8725, 2.1)."""
    parts = [json.dumps({"alg": alg, "kid": "one"}), json.dumps(forger.claims())]
    signed = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    public = forger.key.as_pem(private=False)
    mac = hmac.new(public, signed.encode(), "sha256").digest() if alg == "HS256" else b""
    token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert await reason(provider, token) in ("alg", "signature")


async def test_keys_are_read_again_when_the_provider_changes_them(
    provider: Provider, forger: Forger, clock: Clock
) -> None:
    await provider.verified(forger.signed(), nonce="n")
    new = ECKey.generate_key("P-256", {"kid": "two"})
    forger.published = [new]
    clock.go_on(minutes=1)
    assert (await provider.verified(forger.signed(new, "ES256"), nonce="n"))["sub"] == "ann"
    assert await reason(provider, forger.signed()) == "signature"


async def test_unknown_keys_do_not_make_us_ask_for_ever(provider: Provider, forger: Forger) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "x"})
    for _ in range(5):
        await reason(provider, forger.signed(stranger))
    assert forger.asked.count("/realm/keys") <= 2


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ({"error": "access_denied"}, "provider"),
        ({"code": "c", "iss": "https://evil.example"}, "iss"),
        ({"code": "c"}, ""),
    ],
)
async def test_the_way_back_is_checked(
    provider: Provider, forger: Forger, answer: dict[str, str], word: str
) -> None:
    forger.token = forger.signed()
    call = provider.redeem(answer, nonce="n", verifier="v" * 64, redirect_uri="https://a/answer")
    if word:
        with pytest.raises(NotProven) as refused:
            await call
        assert refused.value.reason == word
    else:
        assert (await call)["sub"] == "ann"
        assert forger.form["code_verifier"] == ["v" * 64]


async def test_a_provider_that_names_itself_must_do_so(provider: Provider, forger: Forger) -> None:
    forger.metadata["authorization_response_iss_parameter_supported"] = True
    with pytest.raises(NotProven) as refused:
        await provider.redeem({"code": "c"}, nonce="n", verifier="v", redirect_uri="r")
    assert refused.value.reason == "iss"


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("issuer", "https://evil.example", "issuer"),
        ("issuer", None, "discovery"),
        ("jwks_uri", "http://169.254.169.254/keys", "address"),
        ("jwks_uri", "http://127.0.0.1/keys", "address"),
        ("jwks_uri", "file:///etc/passwd", "address"),
    ],
)
async def test_metadata_leads_to_no_inner_address(
    provider: Provider, forger: Forger, field: str, value: str | None, word: str
) -> None:
    token = forger.signed()
    forger.metadata[field] = value
    assert await reason(provider, token) == word


async def test_the_request_carries_what_binds_the_answer(provider: Provider) -> None:
    asked = await provider.ask("s", "https://a/answer")
    sent = {name: values[0] for name, values in parse_qs(urlsplit(asked.url).query).items()}
    assert sent["response_type"] == "code"
    assert (sent["state"], sent["nonce"], sent["code_challenge_method"]) == ("s", asked.nonce, "S256")
    assert asked.verifier not in asked.url
    assert 43 <= len(asked.verifier) <= 128  # RFC 7636, 4.1
    other = await provider.ask("s", "https://a/answer")
    assert len({asked.nonce, other.nonce, asked.verifier, other.verifier}) == 4


async def test_a_claim_may_lie_deeper(forger: Forger, clock: Clock) -> None:
    openid = OpenId(ISSUER, "adapter", ROLES, claim="realm_access.roles")
    provider = Provider(openid, clock, transport=httpx.MockTransport(forger.answer))
    deep = {"sub": "ann", "realm_access": {"roles": ["investigators"]}}
    assert [one.role for one in provider.person(deep, "A").grants] == ["investigator"]
    for nothing in ({"realm_access": "investigators"}, {"realm_access": {"roles": {"investigators": 1}}}, {}):
        assert provider.person({"sub": "ann", **nothing}, "A").grants == ()


async def test_a_slow_or_endless_provider_is_left(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapter.web.signin.openid._SECONDS", 0.05)

    async def slow(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(5)
        return httpx.Response(200)

    for answer in (slow, lambda _request: httpx.Response(200, content=b"[" * 2_000_000)):
        provider = Provider(OpenId(ISSUER, "adapter"), clock, transport=httpx.MockTransport(answer))
        with pytest.raises(NotProven):
            await provider.ask("s", "r")
