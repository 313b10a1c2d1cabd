"""Whatever one change is made to a chain of audit rows, it shows; and the first row it touches is named."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from adapter.store.chain import GENESIS, Checkpoint, Link, digest, examine, sealed

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
CELLS = ("at", "actor", "action", "what", "detail", "previous", "hash")


@st.composite
def chains(draw: st.DrawFn, least: int = 1) -> list[Link]:
    rows = draw(st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT), min_size=least, max_size=8))
    return chained(rows)


def chained(rows: list[tuple[str, ...]], start: int = 1, before: str = GENESIS) -> list[Link]:
    links = []
    for number, row in enumerate(rows, start):
        links.append(sealed(Link(number, *row, previous=before, hash="")))
        before = links[-1].hash
    return links


def at_end(links: list[Link]) -> list[Checkpoint]:
    return [Checkpoint(links[-1].number, links[-1].hash, "2026-01-01T00:00:00+00:00")]


@given(chains())
def test_an_untouched_chain_is_sound(links: list[Link]) -> None:
    verdict = examine(links, at_end(links))
    assert verdict.sound
    assert (verdict.rows, verdict.number, verdict.hash) == (len(links), len(links), links[-1].hash)


def test_an_empty_chain_is_sound_until_a_checkpoint_knows_better() -> None:
    assert examine([], []).sound
    (flaw,) = examine([], [Checkpoint(3, "x", "then")]).flaws
    assert (flaw.number, flaw.kind) == (1, "cut")


@given(chains(), st.data())
def test_any_change_of_any_cell_shows_at_its_row(links: list[Link], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(links) - 1))
    cell = data.draw(st.sampled_from(CELLS))
    old = getattr(links[index], cell)
    new = data.draw(TEXT.filter(lambda text: text != old))
    links[index] = msgspec.structs.replace(links[index], **{cell: new})
    verdict = examine(links, [])  # without any checkpoint
    assert verdict.flaws[0].number == index + 1


@given(chains(least=2), st.data())
def test_any_row_removed_before_the_end_shows_where_it_stood(links: list[Link], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(links) - 2))
    del links[index]
    assert examine(links, []).flaws[0].number == index + 2  # the row that now follows the wrong one


@given(chains(), st.data())
def test_any_tail_cut_shows_by_the_checkpoint_and_by_nothing_else(
    links: list[Link], data: st.DataObject
) -> None:
    left = data.draw(st.integers(0, len(links) - 1))
    assert examine(links[:left], []).sound
    (flaw,) = examine(links[:left], at_end(links)).flaws
    assert (flaw.number, flaw.kind) == (left + 1, "cut")


@given(chains(least=2), st.data())
def test_any_swap_shows(links: list[Link], data: st.DataObject) -> None:
    one, other = sorted(
        data.draw(st.lists(st.integers(0, len(links) - 1), min_size=2, max_size=2, unique=True))
    )
    links[one], links[other] = links[other], links[one]
    assert examine(links, []).flaws[0].number == other + 1  # the row that now stands at the first place


@given(chains(least=2), st.data())
def test_swapped_and_renumbered_shows_at_the_first_of_the_two(links: list[Link], data: st.DataObject) -> None:
    one, other = sorted(
        data.draw(st.lists(st.integers(0, len(links) - 1), min_size=2, max_size=2, unique=True))
    )
    links[one], links[other] = (
        msgspec.structs.replace(links[other], number=one + 1),
        msgspec.structs.replace(links[one], number=other + 1),
    )
    assert examine(links, []).flaws[0].number == one + 1


@given(chains(), st.data())
def test_any_row_slipped_in_shows(links: list[Link], data: st.DataObject) -> None:
    """Even one that is hashed rightly and links to the row before it, with all rows after it renumbered."""
    index = data.draw(st.integers(0, len(links) - 1))
    before = links[index - 1].hash if index else GENESIS
    cells = data.draw(st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT))
    slipped = sealed(Link(index + 1, *cells, previous=before, hash=""))
    later = [msgspec.structs.replace(link, number=link.number + 1) for link in links[index:]]
    verdict = examine([*links[:index], slipped, *later], [])
    assert not verdict.sound
    assert verdict.flaws[0].number == index + 2


@given(chains(), st.data())
def test_history_written_anew_shows_by_any_later_checkpoint(links: list[Link], data: st.DataObject) -> None:
    """Whoever may write the database can make every hash fit again, but not the checkpoint elsewhere."""
    index = data.draw(st.integers(0, len(links) - 1))
    kept = at_end(links)
    before = links[index - 1].hash if index else GENESIS
    forged = "forged" + links[index].actor
    rows = [(one.at, one.actor, one.action, one.what, one.detail) for one in links[index:]]
    rows[0] = (rows[0][0], forged, *rows[0][2:])
    anew = links[:index] + chained(rows, index + 1, before)
    assert examine(anew, []).sound
    flaws = examine(anew, kept).flaws
    assert [(flaw.number, flaw.kind) for flaw in flaws] == [(len(links), "rewritten")]


@given(chains(), st.sampled_from([None, b"bytes", 3, 2.5]), st.sampled_from(CELLS))
def test_cells_that_are_no_text_are_named_not_stumbled_over(
    links: list[Link], cell: object, name: str
) -> None:
    links[-1] = msgspec.structs.replace(links[-1], **{name: cell})
    assert (examine(links, []).flaws[0].number, examine(links, []).flaws[0].kind) == (
        len(links),
        "unreadable",
    )


@given(chains(least=2))
def test_no_two_rows_have_one_hash_by_moving_text_between_cells(links: list[Link]) -> None:
    """The hashed bytes keep the borders of cells: "ab" + "c" is not "a" + "bc"."""
    link = links[0]
    moved = msgspec.structs.replace(link, actor=link.actor + link.action, action="")
    assert digest(moved) != digest(link) or not link.action


def test_the_bytes_that_are_hashed_are_the_documented_ones() -> None:
    """Anybody can check a row with a JSON library and SHA-256; computed here by sha256sum."""
    link = Link(1, "2026-01-01T00:00:00+00:00", "anna", "write", '["Flag/1"]', '{"n":1}', GENESIS, "")
    assert digest(link) == "199315715c3fbfa88ecd8172593464cc25e9faa836ccf7ce2b9b51d3fcdf130d"
