"""A proof is believed only when every hash and signature in it leads to the trusted key."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from actors.ledger.checkpoint import Checkpoint, Signer
from actors.ledger.errors import ProofError, TamperedError
from actors.ledger.merkle import leaf_hash, node_hash
from serve_app.cli.proof import checked

SEED = bytes(range(32))
ROOT = Signer("acgs.local", SEED)
TENANT = Signer("acgs.local/t/acme", SEED)
STRANGER = Signer("acgs.local/t/acme", bytes(32))
OTHER_LEAF = leaf_hash(b"another entry")
BODY = b'{"body":{"decision":{"decision_id":"d1"},"kind":"decision","v":1},"wal_id":"1-0"}'


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def a_part(entry: bytes, signer: Signer) -> dict[str, Any]:
    """The entry as leaf 0 of a log of two."""
    root = node_hash(leaf_hash(entry), OTHER_LEAF)
    checkpoint = Checkpoint(signer.name, 2, root).signed_by([signer])
    return {
        "leaf_index": 0,
        "entry": b64(entry),
        "hashes": [b64(OTHER_LEAF)],
        "checkpoint": checkpoint.note,
    }


def a_proof(**changes: Any) -> dict[str, Any]:
    part = a_part(BODY, TENANT)
    return {**part, "root": a_part(part["checkpoint"].encode(), ROOT), **changes}


def test_a_sound_proof_shows_what_was_decided_and_who_signed() -> None:
    proved = checked(a_proof(), ROOT.verifier)
    assert proved.body["decision"] == {"decision_id": "d1"}
    assert (proved.leaf_index, proved.checkpoint.size) == (0, 2)
    assert proved.root is not None
    assert proved.root.origin == "acgs.local"


def test_a_proof_that_the_root_log_does_not_cover_yet_says_so() -> None:
    assert checked(a_proof(root=None), ROOT.verifier).root is None


@pytest.mark.parametrize(
    "changes",
    [
        {"leaf_index": 1},
        {"leaf_index": 9},
        {"hashes": []},
        {"hashes": ["not base64"]},
        {"hashes": [b64(b"\0" * 32)]},
        {"entry": b64(BODY.replace(b"d1", b"d2"))},
        {"entry": 7},
        {"root": a_part(b"another entry", ROOT)},
        {"root": a_part(a_part(BODY, TENANT)["checkpoint"].encode(), TENANT)},
        {"root": {}},
        a_part(BODY, Signer("elsewhere", SEED)),
        a_part(b'{"body":{"kind":"erasure","v":1},"wal_id":"1-0"}', TENANT) | {"root": None},
    ],
    ids=str,
)
def test_a_proof_with_anything_changed_is_not_believed(changes: dict[str, Any]) -> None:
    with pytest.raises(ProofError):
        checked(a_proof(**changes), ROOT.verifier)


def test_a_proof_that_another_key_signed_is_not_believed() -> None:
    with pytest.raises(TamperedError, match="no key that you trust"):
        checked(a_proof(**a_part(BODY, STRANGER), root=None), ROOT.verifier)


@pytest.mark.parametrize("nonsense", [{}, [], "x", None, 1])
def test_what_is_no_proof_is_called_that(nonsense: Any) -> None:
    with pytest.raises(ProofError, match="no proof"):
        checked(nonsense, ROOT.verifier)
