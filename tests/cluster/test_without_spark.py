"""What holds before any cluster is there: how files are cut, what tasks tell of faults, what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.cluster import tasks
from adapter.cluster.faults import TaskFault, fault_in
from adapter.cluster.ranges import Range, blocks, plan, stored, verify
from adapter.cluster.session import session
from adapter.errors import AdapterError, ConfigError, SourceUntrustworthy
from adapter.source.landing import LandedFile
from adapter.source.ndjson import Limits, NdjsonFile, numbered_lines
from adapter.trial import open_trial

_LINES = st.lists(
    st.sampled_from([b"", b" ", b"{}", b'{"id":"1"}', b"\xff\xfe", b"x" * 40, b"\r"]), max_size=30
)


def landed(path: Path) -> LandedFile:
    return LandedFile(path.name, 0, path.stat().st_size, "", ("Patient",))


def read(tasks_of: list[tuple[Range, ...]], limits: Limits) -> list[tuple[int, bytes]]:
    """Lines and their numbers, the first line of each range being known from the ranges before."""
    found: list[tuple[int, bytes]] = []
    first = 1
    for piece in (piece for task in tasks_of for piece in task):
        ends = 0
        for block in blocks(piece, limits):
            found += [(first - 1 + number, line) for number, line in numbered_lines(block)]
            ends = block.first_line - 1 + block.data.count(b"\n")
        first += ends
    return found


@given(
    lines=_LINES, tail=st.booleans(), mark=st.booleans(), size=st.integers(1, 64), block=st.integers(1, 50)
)
def test_lines_and_their_numbers_do_not_depend_on_where_files_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    tail: bool,
    mark: bool,
    size: int,
    block: int,
) -> None:
    path = tmp_path_factory.mktemp("cut") / "Patient.ndjson"
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + b"\n".join(lines) + (b"\n" if tail else b""))
    whole = list(NdjsonFile(path).lines())
    limits = Limits(block=block)
    for place in (str(path.parent), path.parent.as_uri()):
        assert read(plan(stored([landed(path)], "", place), size), limits) == whole


def test_small_files_share_a_task_and_ranges_are_numbered_in_order(tmp_path: Path) -> None:
    sizes = {"a.ndjson": 10, "b.ndjson": 10, "c.ndjson": 95, "d.ndjson.gz": 95}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"x" * size)
    files = [landed(tmp_path / name) for name in sizes]
    cut = plan(stored(files, "", "s3://bucket/landing/"), 40)
    assert [[(one.name, one.start, one.end) for one in task] for task in cut] == [
        [("a.ndjson", 0, 10), ("b.ndjson", 0, 10)],
        [("c.ndjson", 0, 40)],
        [("c.ndjson", 40, 80)],
        [("c.ndjson", 80, 95)],
        [("d.ndjson.gz", 0, 95)],
    ]
    assert [one.number for task in cut for one in task] == list(range(6))
    assert cut[0][0].place == "s3://bucket/landing/a.ndjson"


@pytest.mark.parametrize(
    ("path", "data_at", "expected"),
    [
        ("", "", "/srv/landing/Observation 1#.ndjson"),
        ("2/Observation 1#.ndjson", "", "/srv/landing/2/Observation 1#.ndjson"),
        ("/export/a.ndjson", "", "/export/a.ndjson"),
        ("/export/a.ndjson", "/mnt/copy/", "/mnt/copy/Observation 1#.ndjson"),
        ("", "file:///mnt/my%20copy", "file:///mnt/my%20copy/Observation%201%23.ndjson"),
        ("2/a.ndjson", "s3://bucket/of/mine/", "s3://bucket/of/mine/2/a.ndjson"),
        (
            "",
            "s3://bucket?endpoint_override=http://minio:9000",
            "s3://bucket/Observation%201%23.ndjson?endpoint_override=http://minio:9000",
        ),
    ],
)
def test_files_are_found_below_a_path_or_uri(path: str, data_at: str, expected: str) -> None:
    file = LandedFile("Observation 1#.ndjson", 0, 1, "", path=path)
    assert [one.place for one in stored([file], "/srv/landing", data_at)] == [expected]


def test_a_place_that_cannot_be_opened_is_a_fault_with_a_fix_and_quotes_no_uri() -> None:
    file = LandedFile("Patient.ndjson", 0, 1, "")
    for place in ("nonsense://user:SECRET@host/x", "s3://"):
        with pytest.raises(ConfigError) as told:
            verify(stored([file], "", place))
        assert "SECRET" not in str(told.value)
        assert "pyarrow" in told.value.fix


def test_a_file_that_is_not_the_one_landed_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "Patient.ndjson").write_bytes(b"{}\n")
    files = [landed(tmp_path / "Patient.ndjson")]
    verify(stored(files, str(tmp_path)))
    verify(stored(files, "", tmp_path.as_uri()))
    (tmp_path / "Patient.ndjson").write_bytes(b"{}\n{}\n")
    with pytest.raises(SourceUntrustworthy, match="not as long"):
        verify(stored(files, str(tmp_path)))
    with pytest.raises(SourceUntrustworthy, match="not there"):
        verify(stored(files, str(tmp_path / "elsewhere")))


def test_a_fault_of_ours_comes_back_whole_and_any_other_without_its_text(tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    path = tmp_path / "Patient.ndjson"
    path.write_bytes(b'{"id":"CANARY' + b"x" * 200 + b'"}\n')
    cut = plan(stored([landed(path)], str(tmp_path)), 1000)
    batch = pa.RecordBatch.from_pydict({"id": [0]})
    reading = tasks.Reading(cut, Limits(block=8, max_line=50))
    bounded = tasks.dealing(reading, frozenset({"1"}), open_trial(None, "demo"))
    with pytest.raises(TaskFault) as told:
        list(bounded(iter([batch])))
    fault = fault_in(f"Job aborted: {told.value} at worker.py")
    assert isinstance(fault, SourceUntrustworthy)
    assert (fault.where, fault.message) == ("Patient.ndjson", "a line is longer than 50 bytes")
    path.unlink()
    with pytest.raises(TaskFault) as other:
        list(bounded(iter([batch])))
    assert str(other.value).startswith("FileNotFoundError at ranges.py:")
    assert str(tmp_path) not in str(other.value)
    assert other.value.__suppress_context__
    assert fault_in(str(other.value)) is None


def test_without_pyspark_or_java_the_answer_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyspark.sql", None)
        with pytest.raises(ConfigError) as missing, session():
            pass
    assert "trial-fhir-adapter[spark]" in missing.value.fix
    pytest.importorskip("pyspark")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for name in ("PYSPARK_GATEWAY_PORT", "SPARK_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as missing, session("local[2]"):
        pass
    assert "Java 17" in missing.value.fix
    assert issubclass(ConfigError, AdapterError)
