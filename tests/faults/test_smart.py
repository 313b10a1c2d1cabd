"""Signing in at a hospital, on good days and bad ones, against a real server on loopback.

What a statement must hold: SMART App Launch 2.2, "Backend Services", obtaining a token; the server checks
signatures by itself, from RFC 7515 and RFC 7518. Error answers: RFC 6749, 5.2.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response

from adapter.config import Site, Smart
from adapter.errors import AdapterError, ConfigError, SourceUnavailable, SourceUntrustworthy
from adapter.model.candidates import CandidateQuery
from adapter.source.auth.keys import SigningKey, new_key, public_set
from adapter.source.auth.scopes import Scopes
from adapter.source.auth.server import Waiting
from adapter.source.auth.smart import SmartToken
from adapter.source.auth.token import FileToken
from adapter.source.client import FhirClient, Patience
from adapter.source.crawl import crawl
from adapter.source.search import search
from adapter.trial import Trial, token_source
from tests.servers.guarded import Guarded, serving

ES, RS = new_key("ES384"), new_key("RS384")
QUICK = Waiting(attempts=3, total=2.0, wait_initial=0.001, max_wait=0.05)


def smart(**more: Any) -> Smart:
    return Smart(client_id="trial-adapter", **{"scopes": ("system/*.rs",), **more})


def source(hospital: Guarded, *keys: SigningKey, **more: Any) -> SmartToken:
    return SmartToken(smart(**more), hospital.base_url, keys or (ES,), waiting=QUICK)


def observation(number: int) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": f"o{number}", "subject": {"reference": "Patient/p1"}}


@pytest.mark.parametrize("key", [ES, RS], ids=lambda key: key.algorithm)
async def test_a_statement_is_what_smart_asks_for(key: SigningKey) -> None:
    with serving(Guarded(public_set([key]))) as hospital:
        token = source(hospital, key)
        assert await token() in hospital.tokens
        (header, claims), form = hospital.statements[0], hospital.forms[0]
    assert header == {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
    assert claims["iss"] == claims["sub"] == "trial-adapter"
    assert claims["aud"] == hospital.token_url
    assert 0 < claims["exp"] - time.time() <= 300
    assert len(claims["jti"]) >= 22  # 128 bits and more
    assert form["scope"] == "system/*.rs"
    assert set(form) == {"grant_type", "scope", "client_assertion_type", "client_assertion"}


async def test_a_token_is_kept_until_shortly_before_it_ends() -> None:
    now = [1000.0]
    with serving(Guarded(public_set([ES]))) as hospital:
        token = SmartToken(smart(), hospital.base_url, [ES], waiting=QUICK, monotonic=lambda: now[0])
        first = await token()
        now[0] = 1000 + 300 - 31
        assert await token() == first
        now[0] = 1000 + 300 - 29
        assert await token() != first
        jtis = {claims["jti"] for _, claims in hospital.statements}
    assert len(jtis) == 2


@pytest.mark.parametrize(
    ("says", "lasts"),
    [
        (None, 270),
        (0, 270),
        (-5, 270),
        ("soon", 270),
        ("60", 54),
        (True, 270),
        ({"seconds": 3}, 270),
        (60, 54),
        (59.9, 53.9),
        (10**12, 3570),
    ],
)
async def test_what_the_server_says_of_a_lifetime(says: object, lasts: float) -> None:
    now = [0.0]
    with serving(Guarded(public_set([ES]), says=says)) as hospital:
        token = SmartToken(smart(), hospital.base_url, [ES], waiting=QUICK, monotonic=lambda: now[0])
        first = await token()
        now[0] = lasts - 0.5
        assert await token() == first
        now[0] = lasts + 0.5
        assert await token() != first


async def test_many_who_need_a_token_share_one_sign_in() -> None:
    with serving(Guarded(public_set([ES]))) as hospital:
        token = source(hospital)
        first = set(await asyncio.gather(*(token() for _ in range(20))))
        assert len(first) == len(hospital.statements) == 1
        token._issued -= 100  # not a token of this moment
        second = set(await asyncio.gather(*(token(renew=True) for _ in range(20))))
        assert len(second) == 1
        assert second != first
        assert len(hospital.statements) == 2


async def test_many_who_are_refused_were_refused_once() -> None:
    """Some servers lock a client out that fails too often."""
    with serving(Guarded(public_set([RS]))) as hospital:
        token = source(hospital, ES)
        ended = await asyncio.gather(*(token() for _ in range(20)), return_exceptions=True)
        assert {type(one) for one in ended} == {ConfigError}
        assert len(hospital.forms) == 1
        hospital.jwks = public_set([ES])
        assert await token() in hospital.tokens  # who asks later is asked for anew


@pytest.mark.parametrize("key", [ES, RS], ids=lambda key: key.algorithm)
async def test_a_token_that_ends_in_mid_paging_is_renewed(key: SigningKey) -> None:
    """Twelve pages of 0.15 s with tokens that live 0.4 s."""
    hospital = Guarded(
        public_set([key]),
        lives=0.4,
        resources={"Observation": [observation(number) for number in range(24)]},
        page_seconds=0.15,
    )
    with serving(hospital):
        async with FhirClient(hospital.base_url, source(hospital, key)) as client:
            found = await search(client, "Observation", {"patient": "Patient/p1"})
    assert found.complete
    assert [entry.id for entry in found.entries] == [f"o{number}" for number in range(24)]
    assert len(hospital.statements) >= 4
    assert hospital.wrong == []


async def test_tokens_revoked_in_mid_paging_are_renewed_after_the_401() -> None:
    hospital = Guarded(
        public_set([ES]), resources={"Observation": [observation(number) for number in range(8)]}
    )
    with serving(hospital):
        token = source(hospital)

        async def revoking(*, renew: bool = False) -> str:
            token._issued -= 100
            if hospital.requests.count("/fhir/Observation") in (1, 3) and not renew:
                hospital.revoke()
            return await token(renew=renew)

        async with FhirClient(hospital.base_url, revoking) as client:
            found = await search(client, "Observation", {"patient": "Patient/p1"})
    assert found.complete
    assert len(found.entries) == 8
    assert hospital.unauthorised == 2


@pytest.mark.parametrize("ahead", [600.0, -600.0], ids=["ahead", "behind"])
async def test_a_clock_ten_minutes_off_is_seen_corrected_and_told(
    ahead: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), serving(Guarded(public_set([ES]), ahead=ahead)) as hospital:
        token = source(hospital)
        assert await token() in hospital.tokens
        assert len(hospital.forms) == 2
        token._issued -= 100
        await token(renew=True)
        assert len(hospital.forms) == 3  # the difference is remembered
    assert token.skew == pytest.approx(ahead, abs=5)
    assert "clock" in caplog.text


async def test_a_refusal_that_no_clock_explains_is_not_tried_again() -> None:
    with serving(Guarded(public_set([RS]))) as hospital, pytest.raises(ConfigError, match="invalid_client"):
        await source(hospital, ES)()
    assert len(hospital.forms) == 1


def plain(body: str, status: int = 200, media: str = "application/json") -> Callable[[], Response]:
    return lambda: Response(body, status, media_type=media)


def slow() -> Response:
    time.sleep(2.5)
    return Response("{}")


GOOD = '{"access_token": "abc", "token_type": "%s", "expires_in": 300}'


@pytest.mark.parametrize(
    "faults",
    [[plain("", 500)], [plain("", 503), plain("", 429)], [plain("<html>", 502, "text/html")], [slow]],
    ids=["500", "503 then 429", "502", "slow"],
)
async def test_passing_faults_of_the_token_address_are_survived(faults: list[Callable[[], Response]]) -> None:
    many = len(faults)
    with serving(Guarded(public_set([ES]), faults=faults)) as hospital:
        assert await source(hospital)() in hospital.tokens
    assert len(hospital.forms) == many + 1


REFUSALS = [
    ("500 for good", [plain("", 500)] * 3, SourceUnavailable, "HTTP 500"),
    ("login page", [plain("<html>Sign in", 200, "text/html")], SourceUntrustworthy, "no token"),
    ("not JSON", [plain("token=abc")], SourceUntrustworthy, "no token"),
    ("a list", [plain("[]")], SourceUntrustworthy, "no token"),
    ("no token", [plain('{"token_type": "bearer"}')], SourceUntrustworthy, "no token"),
    ("a null", [plain('{"access_token": null}')], SourceUntrustworthy, "no token"),
    ("header injection", [plain(r'{"access_token": "a\r\nX: 1"}')], SourceUntrustworthy, "no bearer"),
    ("an empty token", [plain('{"access_token": ""}')], SourceUntrustworthy, "no bearer"),
    ("another kind", [plain(GOOD % "mac")], SourceUntrustworthy, "no bearer"),
    ("nested", [plain("[" * 100_000)], SourceUntrustworthy, "no token"),
    ("huge", [plain(" " * 3_000_000)], SourceUntrustworthy, "too long"),
    ("invalid_scope", [plain('{"error": "invalid_scope"}', 400)], ConfigError, "invalid_scope"),
    ("invalid_client", [plain('{"error": "invalid_client"}', 401)], ConfigError, "invalid_client"),
    (
        "unauthorized_client",
        [plain('{"error":"unauthorized_client"}', 400)],
        ConfigError,
        "unauthorized_client",
    ),
    ("words of its own", [plain('{"error": "Zhang San"}', 400)], ConfigError, "no reason given"),
    ("a page with 403", [plain("<html>", 403, "text/html")], ConfigError, "no reason given"),
    ("elsewhere", [lambda: Response(status_code=307, headers={"Location": "/x"})], ConfigError, "elsewhere"),
]


@pytest.mark.parametrize(
    ("faults", "kind", "text"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
async def test_a_refusal_says_what_to_do_and_no_secret(
    faults: list[Callable[[], Response]], kind: type[AdapterError], text: str
) -> None:
    with serving(Guarded(public_set([ES]), faults=list(faults))) as hospital:
        with pytest.raises(kind, match=text) as caught:
            await source(hospital)()
        shown = str(caught.value) + repr(caught.value)
        assert caught.value.fix
        assert "Zhang" not in shown
        assert all(form["client_assertion"] not in shown for form in hospital.forms)


async def test_the_error_of_a_server_that_repeats_the_statement_does_not() -> None:
    with serving(Guarded(public_set([RS]))) as hospital:
        with pytest.raises(ConfigError) as caught:
            await source(hospital, ES)()
        assert hospital.forms[0]["client_assertion"] not in str(caught.value)


async def test_a_refused_sign_in_stops_a_search_and_skips_nothing() -> None:
    """A ConfigError, never a refusal of one type: nothing may be read as absent."""
    with serving(Guarded({"keys": []})) as hospital:
        async with FhirClient(hospital.base_url, source(hospital), patience=Patience(attempts=1)) as client:
            with pytest.raises(ConfigError):
                await search(client, "Observation", {"patient": "Patient/p1"})


async def test_while_a_new_key_is_not_known_yet_the_old_one_signs() -> None:
    old, new = RS, ES
    with serving(Guarded(public_set([old]))) as hospital:
        token = source(hospital, new, old)
        await token()
        assert token.grant is not None
        assert token.grant.kid == old.kid
        hospital.jwks = public_set([new, old])
        token._issued -= 100
        await token(renew=True)
        assert token.grant.kid == new.kid
        hospital.jwks = public_set([new])  # the old one is retired
        token._issued -= 100
        await token(renew=True)
        assert token.grant.kid == new.kid


SCOPES = [
    ("system/*.rs", "Observation", True),
    ("system/*.read", "Observation", True),
    ("system/*.*", "Observation", True),
    ("system/Observation.read", "Observation", True),
    ("system/Observation.rs", "Observation", True),
    ("system/Observation.cruds", "Observation", True),
    ("system/Observation.r system/Observation.s", "Observation", True),
    ("system/Observation.r", "Observation", False),
    ("system/Observation.s", "Observation", False),
    ("system/Observation.write", "Observation", False),
    ("system/Observation.cud", "Observation", False),
    ("system/Observation.rs?category=laboratory", "Observation", False),
    ("system/Patient.rs", "Observation", False),
    ("user/Observation.rs patient/*.rs", "Observation", False),
    ("system/Observation.sr", "Observation", False),  # v2 fixes the order of the letters
    ("system/ObservationX.rs", "Observation", False),
    ("xsystem/*.rs", "Observation", False),
    ("", "Observation", False),
]


@pytest.mark.parametrize(("text", "kind", "readable"), SCOPES)
def test_what_a_scope_lets_us_read(text: str, kind: str, readable: bool) -> None:
    assert Scopes.parse(text).reads(kind) is readable


def test_a_scope_with_a_query_grants_a_part() -> None:
    assert Scopes.parse("system/Observation.rs?category=laboratory").in_part("Observation")
    assert not Scopes.parse("system/Observation.rs?code=1 system/Observation.rs").in_part("Observation")


@pytest.mark.parametrize(
    ("grants", "said", "readable"),
    [
        ("system/Patient.rs system/Condition.read", True, {"Patient", "Condition"}),
        (None, False, {"Patient", "Condition", "Observation"}),
        ("", True, set()),
    ],
)
async def test_what_was_granted_is_known_not_what_was_asked(
    grants: str | None, said: bool, readable: set[str]
) -> None:
    with serving(Guarded(public_set([ES]), grants=grants)) as hospital:
        token = source(hospital)
        await token()
    assert token.grant is not None
    assert token.grant.said is said
    kinds = ("Patient", "Condition", "Observation")
    assert {kind for kind in kinds if token.grant.scopes.reads(kind)} == readable


DISCOVERY = [
    ({"token_endpoint": ""}, SourceUntrustworthy, "refused"),
    ({"token_endpoint": "http://169.254.169.254/token"}, SourceUntrustworthy, "169.254.169.254"),
    ({"token_endpoint": "https://169.254.169.254/token"}, SourceUntrustworthy, "169.254.169.254"),
    ({"token_endpoint": "https://127.0.0.1:1/token"}, SourceUntrustworthy, "127.0.0.1"),
    ({"token_endpoint": "https://[fd00:ec2::254]/token"}, SourceUntrustworthy, "fd00:ec2::254"),
    ({"token_endpoint": "http://auth.example/token"}, SourceUntrustworthy, "no public https"),
    ({"token_endpoint": "https://u:p@auth.example/token"}, SourceUntrustworthy, "user or password"),
    ({"token_endpoint": "file:///etc/passwd"}, SourceUntrustworthy, "neither http"),
    ({"token_endpoint": 7}, SourceUntrustworthy, "no SMART configuration"),
    ({"grant_types_supported": ["authorization_code"]}, ConfigError, "client_credentials"),
    ({"token_endpoint_auth_signing_alg_values_supported": ["RS384"]}, ConfigError, "RS384"),
]


@pytest.mark.parametrize(("configuration", "kind", "text"), DISCOVERY)
async def test_a_discovery_that_leads_astray_is_not_followed(
    configuration: dict[str, Any], kind: type[AdapterError], text: str
) -> None:
    with serving(Guarded(public_set([ES]), configuration=configuration)) as hospital:
        with pytest.raises(kind, match=text):
            await source(hospital)()
        assert hospital.forms == []


async def test_a_token_url_that_the_site_names_needs_no_discovery() -> None:
    with serving(Guarded(public_set([ES]))) as hospital:
        told = SmartToken(
            smart(token_url=hospital.token_url), "https://ehr.example/fhir", [ES], waiting=QUICK
        )
        assert await told() in hospital.tokens
        assert hospital.requests == ["/auth/token"]


async def test_a_server_without_discovery_is_a_matter_of_configuration() -> None:
    with serving(Guarded(public_set([ES]))) as hospital:
        lost = SmartToken(smart(), hospital.base_url + "/no/such", [ES], waiting=QUICK)
        with pytest.raises(ConfigError, match="HTTP 404") as caught:
            await lost()
    assert "token_url" in caught.value.fix


def trial(site: Site) -> Trial:
    return Trial(Path(), Path(), site, None, None, None)  # type: ignore[arg-type]


def test_who_signs_in_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAPTER_TOKEN_FILE", raising=False)
    monkeypatch.delenv("ADAPTER_SMART_KEY_FILE", raising=False)
    key = tmp_path / "key.json"
    key.write_text(json.dumps(ES.private()))
    own, other = "https://ehr.example/fhir", "https://ehr.example.evil.example/fhir"
    by_key = trial(Site("h", "h", base_url=own, smart=smart(key_file=str(key))))
    by_file = trial(Site("h", "h", base_url=own, token_file=str(key)))
    assert isinstance(token_source(by_key, own), SmartToken)
    assert isinstance(token_source(by_file, own), FileToken)
    for one in (by_key, by_file):
        assert token_source(one, other) is None
    monkeypatch.setenv("ADAPTER_TOKEN_FILE", str(key))
    assert isinstance(token_source(by_key, other), FileToken)
    assert isinstance(token_source(by_key, own), SmartToken)
    with pytest.raises(ConfigError, match="names no key"):
        token_source(trial(Site("h", "h", base_url=own, smart=smart())), own)


def test_what_is_printed_of_a_token_source_is_no_secret() -> None:
    token = SmartToken(smart(), "https://ehr.example/fhir", [ES])
    secret = ES.private()["d"]
    assert secret not in repr(token) + repr(ES) + str(ES) + f"{ES}"


async def test_time_is_that_of_the_caller() -> None:
    def told() -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    ahead = (told() - datetime.now(UTC)).total_seconds()
    with serving(Guarded(public_set([ES]), ahead=ahead)) as hospital:
        await SmartToken(smart(), hospital.base_url, [ES], waiting=QUICK, clock=told)()
        assert hospital.statements[0][1]["iat"] == int(told().timestamp())


@pytest.mark.parametrize(
    ("grants", "complete", "reason"),
    [
        ("system/*.rs", True, "searched"),
        ("system/Patient.rs system/Condition.rs system/Observation.rs", True, "searched"),
        ("system/Patient.rs system/Condition.rs", False, "the token's scopes grant no Observation"),
        (
            "system/Patient.rs system/Condition.rs system/Observation.rs?category=vital-signs",
            False,
            "the token's scopes grant a part of Observation",
        ),
    ],
)
async def test_an_empty_answer_beyond_the_scopes_is_no_absence(
    grants: str, complete: bool, reason: str
) -> None:
    """The server answers every search, also of types that the token does not cover: with nothing."""
    hospital = Guarded(
        public_set([ES]),
        grants=grants,
        metadata={"resourceType": "CapabilityStatement"},
        resources={"Patient": [{"resourceType": "Patient", "id": "p1"}]},
        ignores=set(),
    )
    with serving(hospital):
        async with FhirClient(hospital.base_url, source(hospital)) as client:
            report = await crawl(client, CandidateQuery(), lambda kind, raw: None, patients=["p1"])
    row = next(row for row in report.coverage if row.resource_type == "Observation")
    assert (row.complete, row.reason) == (complete, reason)


async def test_no_log_holds_a_secret_or_a_patient(caplog: pytest.LogCaptureFixture) -> None:
    """Everything is logged that httpx, httpcore and we would log at the most talkative setting."""
    hospital = Guarded(
        public_set([ES]), ahead=600, lives=0.3, page_seconds=0.1,
        resources={"Observation": [observation(number) for number in range(10)]},
    )  # fmt: skip
    with caplog.at_level(logging.DEBUG), serving(hospital):
        async with FhirClient(hospital.base_url, source(hospital)) as client:
            await search(client, "Observation", {"patient": "Patient/p1"})
    secrets = [form["client_assertion"] for form in hospital.forms] + [*hospital.tokens, "Patient/p1", "p1"]
    assert len(hospital.tokens) > 1
    assert not [one for one in secrets if one in caplog.text]
