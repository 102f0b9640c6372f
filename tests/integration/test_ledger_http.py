"""The ledger over HTTP, checked by an auditor who trusts nothing but the public keys."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from typing import Any

import httpx
import pytest
from integration.doorstep import SETTLED_WITHIN_S, Tenant, problem
from running import a_body

from actors.ledger import checkpoint as notes
from actors.ledger.checkpoint import Checkpoint, VerifierKey, parse_key
from actors.ledger.entry import open_entry
from actors.ledger.errors import ProofError, TamperedError
from actors.ledger.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from actors.ledger.tiles import hashes_of, unbundle

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus


def auditor(tenant: Tenant) -> httpx.Client:
    return tenant.client("auditor", "auditor")


def keys(here: Tenant, **of: str) -> list[VerifierKey]:
    """The public keys, fetched without a token."""
    answer = httpx.get(f"{here.bus.url}/v1/ledger/key", params=of, timeout=30)
    assert answer.headers["content-type"].startswith("text/plain")
    return [parse_key(line) for line in answer.text.splitlines()]


def own_keys(tenant: Tenant) -> list[VerifierKey]:
    return keys(tenant, tenant=tenant.name)


def checkpoint(tenant: Tenant) -> Checkpoint:
    answer = auditor(tenant).get(f"/t/{tenant.name}/checkpoint")
    assert answer.status_code == httpx.codes.OK, answer.text
    return notes.opened(answer.text, own_keys(tenant))[0]


def proved(inclusion: dict[str, Any], trusted: list[VerifierKey]) -> bytes:
    """Verify an inclusion as JSON shows it; return the entry that it proves."""
    entry = b64decode(inclusion["entry"], validate=True)
    signed = notes.opened(inclusion["checkpoint"], trusted)[0]
    assert signed.size == inclusion["tree_size"]
    assert b64decode(inclusion["leaf_hash"], validate=True) == leaf_hash(entry)
    verify_inclusion(
        leaf_hash(entry),
        inclusion["leaf_index"],
        signed.size,
        path=[b64decode(each, validate=True) for each in inclusion["hashes"]],
        root=signed.root,
    )
    return entry


def sent(tenant: Tenant, count: int) -> list[dict[str, Any]]:
    decisions = [tenant.send(message_id=f"m{number}").json() for number in range(count)]
    tenant.account()
    return decisions


def test_every_decision_is_proved_to_somebody_who_holds_only_the_public_key(
    tenant: Tenant,
) -> None:
    for decision in sent(tenant, 5):
        answer = auditor(tenant).get(
            f"/v1/decisions/{decision['decision_id']}/proof",
            headers={"Accept": "application/json"},
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        proof = answer.json()
        found = open_entry(proved(proof, own_keys(tenant)))
        assert found.body["decision"]["decision_id"] == decision["decision_id"]
        assert found.body["decision"]["effect"] == "allow"
        assert proof["leaf_hash"] == decision["receipt"]["leaf_hash"]
        assert found.wal_id == decision["receipt"]["entry_id"]


def test_the_tenants_checkpoint_is_itself_an_entry_of_the_signed_root_log(tenant: Tenant) -> None:
    [decision] = sent(tenant, 1)
    deadline_s = time.monotonic() + SETTLED_WITHIN_S
    path = f"/v1/decisions/{decision['decision_id']}/proof"
    while True:
        proof = auditor(tenant).get(path, headers={"Accept": "application/json"}).json()
        if proof["root"] is not None:
            break
        assert time.monotonic() < deadline_s, "the root log never covered it"
        time.sleep(0.02)
    assert proved(proof["root"], keys(tenant)).decode() == proof["checkpoint"]


def test_a_proof_that_was_tampered_with_proves_nothing(tenant: Tenant) -> None:
    [decision, *_] = sent(tenant, 4)
    path = f"/v1/decisions/{decision['decision_id']}/proof"
    proof = auditor(tenant).get(path, headers={"Accept": "application/json"}).json()
    trusted = own_keys(tenant)
    proved(proof, trusted)
    lies = (
        {"leaf_index": proof["leaf_index"] + 1},
        {"hashes": proof["hashes"][::-1]},
        {"hashes": proof["hashes"][:-1]},
        {"checkpoint": proof["checkpoint"].replace("\n", "x\n", 1)},
    )
    for lie in lies:
        with pytest.raises((ProofError, TamperedError)):
            proved({**proof, **lie}, trusted)


def test_a_proof_is_a_tlog_proof_unless_json_is_asked_for(tenant: Tenant) -> None:
    [decision] = sent(tenant, 1)
    answer = auditor(tenant).get(f"/v1/decisions/{decision['decision_id']}/proof")
    assert answer.headers["content-type"].startswith("text/plain")
    head, _, note = answer.text.partition("\n\n")
    kind, index, *hashes = head.split("\n")
    assert (kind, index) == ("c2sp.org/tlog-proof@v1", "index 0")
    signed = notes.opened(note, own_keys(tenant))[0]
    verify_inclusion(
        b64decode(decision["receipt"]["leaf_hash"]),
        0,
        signed.size,
        path=[b64decode(each, validate=True) for each in hashes],
        root=signed.root,
    )


def test_the_tiles_rebuild_the_signed_root(tenant: Tenant) -> None:
    sent(tenant, 6)
    signed = checkpoint(tenant)
    width = signed.size
    hashes = auditor(tenant).get(f"/t/{tenant.name}/tile/0/000.p/{width}")
    assert hashes.headers["content-type"] == "application/octet-stream"
    assert "immutable" in hashes.headers["cache-control"]
    leaves = list(hashes_of(hashes.content))
    assert len(leaves) == width
    assert root_of(leaves) == signed.root
    bundle = auditor(tenant).get(f"/t/{tenant.name}/tile/entries/000.p/{width}")
    assert [leaf_hash(entry) for entry in unbundle(bundle.content)] == leaves


def test_growth_is_proved_and_from_nothing_nothing_is(tenant: Tenant) -> None:
    sent(tenant, 3)
    before = checkpoint(tenant)
    for number in range(4):
        tenant.send(message_id=f"later-{number}")
    tenant.account()
    after = checkpoint(tenant)
    assert after.size > before.size
    path = "/v1/ledger/consistency"
    answer = auditor(tenant).get(path, params={"first": before.size, "second": after.size})
    assert answer.json()["first"] == before.size
    hashes = [b64decode(each, validate=True) for each in answer.json()["hashes"]]
    verify_consistency(
        before.size, after.size, path=hashes, first_root=before.root, second_root=after.root
    )
    for first, second in ((0, 1), (0, 0), (2, 1), (1, after.size + 1), (after.size + 1, 1 << 53)):
        refused = auditor(tenant).get(path, params={"first": first, "second": second})
        problem(refused, 422, "ledger.consistency_refused")
    for bad in ({"first": -1, "second": 1}, {"first": "one", "second": 2}, {"first": 1}):
        problem(auditor(tenant).get(path, params=bad), 422, "request.invalid")


def test_the_root_logs_hashes_are_public_and_its_entries_are_for_the_platform(
    tenant: Tenant,
) -> None:
    sent(tenant, 1)
    with httpx.Client(base_url=tenant.bus.url, timeout=30) as public:
        deadline_s = time.monotonic() + SETTLED_WITHIN_S
        while (note := public.get("/checkpoint")).status_code != httpx.codes.OK:
            problem(note, 404, "ledger.empty")
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        signed = notes.opened(note.text, keys(tenant))[0]
        assert note.headers["cache-control"] == "no-store"
        first = "000" if signed.size >= 256 else f"000.p/{signed.size}"
        hashes = public.get(f"/tile/0/{first}")
        assert len(hashes_of(hashes.content)) == min(signed.size, 256)
        problem(public.get(f"/tile/entries/{first}"), 401, "auth.missing")
        assert tenant.name not in note.text + hashes.text
    problem(auditor(tenant).get(f"/tile/entries/{first}"), 403, "auth.scope_missing")
    platform = tenant.client("platform", "platform_admin").get(f"/tile/entries/{first}")
    assert [leaf_hash(entry) for entry in unbundle(platform.content)] == list(
        hashes_of(hashes.content)
    )


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/0",
        "tile/64/000",
        "tile/entries/x000",
        "tile/0/x999/999",
        "tile/checkpoint",
        "tile/..%2fcheckpoint",
        "tile/0/..%2f..%2f..%2fkeys%2fidentity.pem",
        "tile/index.sqlite",
        "tile//0/000",
    ],
)
def test_a_tile_that_is_not_in_the_signed_tree_is_not_found(tenant: Tenant, path: str) -> None:
    sent(tenant, 1)
    answer = auditor(tenant).get(f"/t/{tenant.name}/{path}")
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_tile_wider_than_the_signed_tree_is_not_shown(tenant: Tenant) -> None:
    sent(tenant, 1)
    size = checkpoint(tenant).size
    answer = auditor(tenant).get(f"/t/{tenant.name}/tile/0/000.p/{size + 1}")
    problem(answer, 404, "ledger.no_such_tile")


def test_a_log_without_rotations_says_so(tenant: Tenant) -> None:
    sent(tenant, 1)
    answer = auditor(tenant).get(f"/t/{tenant.name}/rotation/0")
    problem(answer, 404, "ledger.no_such_rotation")


def test_the_entries_hold_the_content_sealed_and_never_in_the_open(tenant: Tenant) -> None:
    phrase = "the quick brown fox of this test"
    content = {"action": "web.search", "args": {"query": phrase}}
    assert tenant.send(content=content).json()["effect"] == "allow"
    tenant.account()
    [entry] = [
        one
        for one in tenant.entries()
        if one["kind"] == "decision" and one["decision"]["agent"] == "planner"
    ]
    assert entry["evidence"]["alg"] == "A256GCM"
    assert phrase not in json.dumps(tenant.entries())


def test_a_decision_alone_has_its_proof_too(tenant: Tenant) -> None:
    decision = tenant.client().post("/v1/decisions", json=a_body()).json()
    path = f"/v1/decisions/{decision['decision_id']}/proof"
    proof = tenant.client().get(path, headers={"Accept": "application/json"})
    assert proof.status_code == httpx.codes.OK, proof.text
    found = open_entry(proved(proof.json(), own_keys(tenant)))
    assert found.body["decision"]["delivers"] is False
