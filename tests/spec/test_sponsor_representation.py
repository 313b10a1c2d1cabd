"""Encoding, conditions and ranges, by the examples and rules of RFC 9110."""

from __future__ import annotations

import pytest

from adapter.web.sponsor.representation import Answer, answer, encoding

TAG, OTHER = '"aa"', '"bb"'


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "identity"),
        ("", "identity"),  # 12.5.3: an empty field means that none is wanted
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),  # 8.4.1.3
        ("GZIP", "gzip"),  # 8.4.1: case-insensitive
        ("compress, gzip", "gzip"),  # the examples of 12.5.3, this one and the four below
        ("*", "gzip"),
        ("compress;q=0.5, gzip;q=1.0", "gzip"),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.000", "identity"),
        ("*;q=0", "identity"),
        ("gzip;q=0.2, identity;q=0.8", "identity"),
        ("identity", "identity"),
        ("br", "identity"),
        ("gzip;q=nonsense", "identity"),
        ("gzip;q=2", "identity"),
        (";;,,;", "identity"),
    ],
)
def test_gzip_goes_to_whoever_wants_it(accept: str | None, expected: str) -> None:
    assert encoding(accept, compressible=True) == expected
    assert encoding(accept, compressible=False) == "identity"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("bytes=0-499", Answer(206, 0, 500)),  # 14.1.2, for a representation of 10000 bytes: these seven
        ("bytes=500-999", Answer(206, 500, 1000)),
        ("bytes=-500", Answer(206, 9500, 10000)),
        ("bytes=9500-", Answer(206, 9500, 10000)),
        ("bytes=0-0", Answer(206, 0, 1)),
        ("bytes= 0-999", Answer(206, 0, 1000)),
        ("bytes=0-0,-1", Answer(200, 0, 10000)),  # several: a server may ignore them (14.2)
        ("Bytes=9999-", Answer(206, 9999, 10000)),  # a range unit is case-insensitive (14.1)
        ("bytes=9999-20000", Answer(206, 9999, 10000)),
        ("bytes=10000-", Answer(416)),
        ("bytes=-20000", Answer(206, 0, 10000)),
        ("bytes=-0", Answer(416)),
        ("bytes=500-499", Answer(200, 0, 10000)),  # invalid, so ignored
        ("bytes=a-b", Answer(200, 0, 10000)),
        ("bytes=", Answer(200, 0, 10000)),
        ("rows=1-2", Answer(200, 0, 10000)),
        ("bytes=1-2x", Answer(200, 0, 10000)),
        ("bytes=" + "9" * 400 + "-", Answer(200, 0, 10000)),
        ("bytes=٣-٤", Answer(200, 0, 10000)),
    ],
)
def test_one_range_of_bytes(asked: str, expected: Answer) -> None:
    assert answer({"range": asked}, TAG, 10000) == expected
    assert answer({"range": asked}, TAG, 10000, head=True) == Answer(200, 0, 10000)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": TAG}, 304),
        ({"if-none-match": f"W/{TAG}"}, 304),  # weak comparison, 13.1.2
        ({"if-none-match": f"{OTHER}, {TAG}"}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": OTHER}, 200),
        ({"if-none-match": "aa"}, 200),
        ({"if-none-match": TAG, "range": "bytes=0-1"}, 304),
        ({"if-match": TAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f"W/{TAG}"}, 412),  # strong comparison, 13.1.1
        ({"if-match": OTHER}, 412),
        ({"if-match": OTHER, "if-none-match": TAG}, 412),  # the order of 13.2.2
        ({"if-range": TAG, "range": "bytes=0-1"}, 206),
        ({"if-range": OTHER, "range": "bytes=0-1"}, 200),
        ({"if-range": f"W/{TAG}", "range": "bytes=0-1"}, 200),  # 13.1.5: strong only
        ({"if-range": "Sat, 29 Oct 1994 19:43:31 GMT", "range": "bytes=0-1"}, 200),
        ({"if-range": OTHER, "range": "bytes=99999-"}, 200),
        ({"if-range": TAG, "range": "bytes=99999-"}, 416),
    ],
)
def test_conditions(headers: dict[str, str], status: int) -> None:
    assert answer(headers, TAG, 10000).status == status


def test_of_nothing_there_is_no_range() -> None:
    assert answer({"range": "bytes=0-"}, TAG, 0) == Answer(416)
    assert answer({}, TAG, 0) == Answer(200, 0, 0)
