"""Any history of appends is one tree, and a proof holds for exactly what it proves."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger.errors import ProofError
from actors.ledger.log import EMPTY, Log, append, load, subtrees
from actors.ledger.merkle import (
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from actors.ledger.tiles import Tile, all_tiles, hashes_of, parse_path, unbundle


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return sha256(b"\x01" + naive_root(leaves[:middle]) + naive_root(leaves[middle:])).digest()


def grown(batches: list[int]) -> tuple[Log, dict[Tile, bytes], list[bytes]]:
    log, tiles, entries = EMPTY, {}, []
    for batch in batches:
        new = [b"entry %d" % n for n in range(len(entries), len(entries) + batch)]
        growth = append(log, new)
        log, entries = growth.log, entries + new
        tiles.update(growth.writes)
    return log, tiles, entries


histories = st.lists(st.integers(1, 400), min_size=1, max_size=8)


@given(histories)
@settings(max_examples=60, deadline=None)
def test_any_history_of_appends_gives_the_tree_of_a_naive_implementation(
    batches: list[int],
) -> None:
    log, tiles, entries = grown(batches)
    leaves = [leaf_hash(entry) for entry in entries]
    assert log.size == len(entries)
    assert log.root == naive_root(leaves) == root_of(leaves)
    assert grown([sum(batches)])[0] == log, "the way it grew left a trace"
    for tile in all_tiles(log.size):
        if tile.level is None:
            start = tile.number * 256
            assert unbundle(tiles[tile]) == entries[start : start + tile.width]
        elif tile.level == 0:
            start = tile.number * 256
            assert list(hashes_of(tiles[tile])) == leaves[start : start + tile.width]
        else:
            width = 256**tile.level
            for at, node in enumerate(hashes_of(tiles[tile])):
                first = (tile.number * 256 + at) * width
                assert node == naive_root(leaves[first : first + width])


@given(histories)
@settings(max_examples=40, deadline=None)
def test_a_log_loaded_from_its_tiles_grows_as_if_it_had_never_stopped(batches: list[int]) -> None:
    log, tiles, _ = grown(batches)
    loaded = load(log.size, lambda tile: tiles[tile])
    assert loaded == log
    assert append(loaded, [b"one more"]) == append(log, [b"one more"])


@given(histories, st.data())
@settings(max_examples=60, deadline=None)
def test_every_proof_verifies_at_every_size(batches: list[int], data: st.DataObject) -> None:
    log, tiles, entries = grown(batches)
    leaves = [leaf_hash(entry) for entry in entries]
    size = data.draw(st.integers(1, log.size))
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))

    def subtree(start: int, end: int) -> bytes:
        return naive_root(leaves[start:end])

    path = prove_inclusion(index, size, subtree)
    verify_inclusion(leaves[index], index, size, path=path, root=naive_root(leaves[:size]))
    roots = {"first_root": naive_root(leaves[:first]), "second_root": naive_root(leaves[:size])}
    growth = prove_consistency(first, size, subtree)
    verify_consistency(first, size, path=growth, **roots)
    if size == log.size:
        tiled = subtrees(size, lambda tile: hashes_of(tiles[tile]))
        assert prove_inclusion(index, size, tiled) == path
        assert prove_consistency(first, size, tiled) == growth


def _flip(data: bytes, bit: int) -> bytes:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


@given(st.integers(1, 90), st.data())
@settings(max_examples=200, deadline=None)
def test_any_single_bit_flipped_makes_an_inclusion_proof_fail(
    size: int, data: st.DataObject
) -> None:
    leaves = [leaf_hash(b"%d" % n) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = prove_inclusion(index, size, lambda a, b: naive_root(leaves[a:b]))
    parts = [leaves[index], naive_root(leaves), *path]
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[part] = _flip(parts[part], bit)
    with pytest.raises(ProofError):
        verify_inclusion(parts[0], index, size, path=parts[2:], root=parts[1])


@given(st.integers(2, 90), st.data())
@settings(max_examples=200, deadline=None)
def test_any_single_bit_flipped_makes_a_consistency_proof_fail(
    size: int, data: st.DataObject
) -> None:
    leaves = [leaf_hash(b"%d" % n) for n in range(size)]
    first = data.draw(st.integers(1, size - 1))
    path = prove_consistency(first, size, lambda a, b: naive_root(leaves[a:b]))
    parts = [naive_root(leaves[:first]), naive_root(leaves), *path]
    part, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[part] = _flip(parts[part], bit)
    with pytest.raises(ProofError):
        verify_consistency(first, size, path=parts[2:], first_root=parts[0], second_root=parts[1])


@given(st.integers(1, 60), st.data())
@settings(max_examples=150, deadline=None)
def test_a_proof_holds_for_one_place_only(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(b"%d" % n) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path = prove_inclusion(index, size, lambda a, b: naive_root(leaves[a:b]))
    other = data.draw(st.integers(-2, size + 2).filter(lambda n: n != index))
    cut = data.draw(st.sampled_from([path[1:], [*path, leaves[0]], path[:-1]]))
    with pytest.raises(ProofError):
        verify_inclusion(leaves[index], other, size, path=path, root=naive_root(leaves))
    if cut != path:
        with pytest.raises(ProofError):
            verify_inclusion(leaves[index], index, size, path=cut, root=naive_root(leaves))


@given(
    st.one_of(st.none(), st.integers(0, 7)),
    st.integers(0, 10**12),
    st.integers(1, 256),
)
def test_a_tile_path_names_its_tile_and_no_other(
    level: int | None, number: int, width: int
) -> None:
    tile = Tile(level, number, width)
    assert parse_path(tile.path) == tile


@given(st.text(alphabet="tile/entris0123456789x.p-", max_size=40))
def test_a_path_that_is_read_as_a_tile_is_written_so_again(path: str) -> None:
    tile = parse_path(path)
    assert tile is None or tile.path == path
