"""The tree: published vectors, byte for byte, and the defects that the original tree had."""

from base64 import b64encode
from hashlib import sha256

import pytest

from actors.ledger import checkpoint as cp
from actors.ledger.errors import ProofError, TamperedError
from actors.ledger.log import EMPTY, append, subtrees
from actors.ledger.merkle import (
    EMPTY_ROOT,
    Range,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from actors.ledger.tiles import Tile, bundle, digits, hashes_of, parse_path, unbundle

# The eight leaves and roots that Certificate Transparency's reference tests use (RFC 6962).
RFC_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
RFC_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _subtree(leaves: list[bytes]) -> Range:
    return lambda first, last: root_of(leaves[first:last])


def test_the_empty_tree_is_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of([]) == EMPTY_ROOT
    assert EMPTY.root == EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_rfc_6962(size: int) -> None:
    assert root_of([leaf_hash(each) for each in RFC_LEAVES[:size]]).hex() == RFC_ROOTS[size - 1]


def test_the_audit_path_is_that_of_rfc_6962() -> None:
    leaves = [leaf_hash(each) for each in RFC_LEAVES]
    path = prove_inclusion(5, 8, _subtree(leaves))
    assert [each.hex() for each in path] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_the_consistency_proof_is_that_of_rfc_6962() -> None:
    leaves = [leaf_hash(each) for each in RFC_LEAVES]
    path = prove_consistency(6, 8, _subtree(leaves))
    assert [each.hex() for each in path] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@pytest.mark.parametrize("second", [0, 1, 8])
def test_a_consistency_proof_from_size_0_is_always_refused(second: int) -> None:
    roots = {"first_root": EMPTY_ROOT, "second_root": EMPTY_ROOT}
    with pytest.raises(ProofError):
        verify_consistency(0, second, path=[], **roots)
    with pytest.raises(ProofError):
        prove_consistency(0, second, _subtree([]))


def test_a_tree_cannot_shrink() -> None:
    with pytest.raises(ProofError):
        verify_consistency(2, 1, path=[], first_root=EMPTY_ROOT, second_root=EMPTY_ROOT)


def test_a_leaf_beyond_the_tree_has_no_proof() -> None:
    with pytest.raises(ProofError):
        prove_inclusion(1, 1, _subtree([EMPTY_ROOT]))
    with pytest.raises(ProofError):
        verify_inclusion(EMPTY_ROOT, 1, 1, path=[], root=EMPTY_ROOT)


def test_the_example_of_the_format_comes_out_byte_for_byte() -> None:
    entries = [b"a", b"bb", b"ccc"]
    grown = append(EMPTY, entries)
    signer = cp.Signer("bus.example/acme", bytes(range(32)))

    assert [leaf.hex() for leaf in grown.leaves] == [
        "022a6979e6dab7aa5ae4c3e5e45f7e977112a7e63593820dbec1ec738a24f93c",
        "69372b398d6cc28945af8d2474c0b7661b6ab4587d2eb59364e914adf655fcee",
        "e0aa59c39192da9adcbda848d2c9aa11e5b249315ded98449ae3fc5ed361a238",
    ]
    assert root_of(grown.leaves[:2]).hex() == (
        "3ea3f8423cf12b1398d6e9b468114e368fceab86b53bcc57adb29a1564c0226d"
    )
    assert grown.log.root.hex() == (
        "f6ee8bcc9daa22bc0d5355fb7d3f2c429fc43da07838f4288caa193373c95e56"
    )
    assert dict(grown.writes)[Tile(None, 0, 3)].hex() == "000161000262620003636363"
    assert signer.verifier.public.hex() == (
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    )
    assert signer.verifier.key_id.hex() == "4bce7f32"
    note = cp.Checkpoint("bus.example/acme", 3, grown.log.root).signed_by([signer]).note
    root = b64encode(grown.log.root).decode()
    assert note.startswith(f"bus.example/acme\n3\n{root}\n\n— bus.example/acme ")
    assert cp.opened(note, [signer.verifier])[0].root == grown.log.root


def test_defect_9_the_leaf_is_a_hash_of_the_entry_and_no_constant() -> None:
    assert leaf_hash(b"one") != leaf_hash(b"two")
    assert leaf_hash(b"one") == sha256(b"\x00one").digest()


def test_defect_15_an_odd_leaf_is_not_duplicated() -> None:
    leaves = [leaf_hash(each) for each in (b"a", b"b", b"c")]
    assert root_of(leaves) != root_of([*leaves, leaves[-1]])


def test_defect_15_a_node_cannot_pose_as_a_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != root_of([left, right])


def test_memory_does_not_grow_with_the_log() -> None:
    log = EMPTY
    for _ in range(3):
        log = append(log, [b"entry"] * 70_000).log
    hashes = sum(len(edge) for edge in log.edges) // 32
    assert len(log.bundle) < 256
    assert hashes < 3 * 256
    assert len(log.peaks) <= 18


@pytest.mark.parametrize(
    ("number", "path"),
    [(0, "000"), (999, "999"), (1000, "x001/000"), (1234067, "x001/x234/067")],
)
def test_a_tile_number_is_written_in_groups_of_three(number: int, path: str) -> None:
    assert digits(number) == path
    assert parse_path(f"tile/3/{path}") == Tile(3, number)
    assert parse_path(f"tile/entries/{path}.p/7") == Tile(None, number, 7)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/1",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/07",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/../secret",
        "tile/entries/000/",
        "checkpoint",
        "",
    ],
)
def test_no_other_path_names_a_tile(path: str) -> None:
    assert parse_path(path) is None


def test_a_bundle_that_ends_inside_an_entry_is_refused() -> None:
    whole = bundle([b"a", b"bb"])
    assert unbundle(whole) == [b"a", b"bb"]
    for end in (1, 2, 4, 6):
        with pytest.raises(TamperedError, match="ends inside"):
            unbundle(whole[:end])


def test_proofs_come_out_of_tiles_alone() -> None:
    entries = [str(i).encode() for i in range(70_000)]
    tiles: dict[Tile, bytes] = {}
    log = EMPTY
    for at in range(0, len(entries), 997):
        grown = append(log, entries[at : at + 997])
        tiles.update(grown.writes)
        log = grown.log
    subtree = subtrees(log.size, lambda tile: hashes_of(tiles[tile]))
    for index in (0, 1, 255, 256, 65_535, 65_536, 69_999):
        path = prove_inclusion(index, log.size, subtree)
        verify_inclusion(leaf_hash(entries[index]), index, log.size, path=path, root=log.root)
