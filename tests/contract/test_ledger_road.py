"""From a decision to a signed leaf, through a real store."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.ledger import entry, wal
from actors.ledger.client import LedgerRecorder
from actors.ledger.entry import open_entry
from actors.ledger.errors import TamperedError, WalRecordError
from actors.ledger.evidence import EvidenceError
from actors.ledger.merkle import leaf_hash
from actors.ledger.sequencer import Sequencer
from actors.ledger.store import Folder
from actors.ledger.tiles import Tile, unbundle
from cluster.clock import SystemClock, new_id
from cluster.store import keys
from policies.decision import Decision, Effect, Recorded
from policies.errors import DependencyError, RefusalError
from policies.message import Message
from policies.parcel import open_parcel

from builders import a_decision, a_message, a_principal

if TYPE_CHECKING:
    from contract.conftest import Valkey

    from cluster.store.client import Store

ORIGIN = "bus.example"
CLOCK = SystemClock()


@dataclass(frozen=True)
class Secrets:
    wal_key: bytes = bytes(32)
    evidence_key: bytes = bytes([7]) * 32
    ledger_seeds: Sequence[bytes] = (bytes(range(32)),)


SECRETS = Secrets()


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    # The high-water marks and the set of tenants belong to one ledger, so each test has a server.
    return own_valkey


def a_recorder(store: Store, **changes: object) -> LedgerRecorder:
    settings = {"origin": ORIGIN, "clock": CLOCK, "replay_window_s": 600, **changes}
    return LedgerRecorder(store, SECRETS, **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def a_sequencer(
    store: Store, folder: Path, secrets: Secrets = SECRETS, **changes: object
) -> AsyncIterator[Sequencer]:
    sequencer = Sequencer(store, folder, secrets, origin=ORIGIN, clock=CLOCK, **changes)  # type: ignore[arg-type]
    try:
        await sequencer.start()
        yield sequencer
    finally:
        sequencer.close()


def a_pair(tenant: str, **changes: object) -> tuple[Decision, Message]:
    message = a_message(id=new_id(CLOCK.now()), tenant=tenant, **changes)  # type: ignore[arg-type]
    decision = a_decision(
        decision_id=new_id(CLOCK.now()),
        message_id=message.id,
        tenant=tenant,
        content_digest=message.content_digest,
        decided_at=CLOCK.now(),
    )
    return decision, message


async def put(recorder: LedgerRecorder, decision: Decision, message: Message) -> Recorded:
    return await recorder.append(decision, message, release=message)


async def settle(sequencer: Sequencer) -> None:
    for turn in sequencer._turns.values():
        turn.due_s = 0.0
    sequencer._tenants_due_s = sequencer._root_due_s = 0.0
    await sequencer.round()


def entries_of(folder: Path, tenant: str) -> list[bytes]:
    log = Folder(folder / "t" / tenant)
    size = int((log.fetch("checkpoint") or b"\n0\n").split(b"\n")[1])
    bundles = [Tile(None, n) for n in range(size // 256)]
    if size % 256:
        bundles.append(Tile(None, size // 256, size % 256))
    return [each for tile in bundles for each in unbundle(log.read(tile))]


def test_a_recorded_decision_is_in_the_tree_with_every_field(
    valkey: Valkey, tmp_path: Path
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            decision, message = a_pair(tenant)
            recorded = await put(a_recorder(store), decision, message)
            assert recorded.decision == decision
            assert not recorded.replayed
            assert recorded.receipt.origin == f"{ORIGIN}/t/{tenant}"
            await settle(sequencer)
            (data,) = entries_of(tmp_path, tenant)
            assert leaf_hash(data) == b64decode(recorded.receipt.leaf_hash)
            found = open_entry(data)
            assert found.wal_id == recorded.receipt.entry_id
            assert entry.decision_from(found.body["decision"]) == decision
            assert sequencer.status()[tenant].size == 1

    asyncio.run(scenario())


def test_a_repeated_message_gets_the_first_decision(valkey: Valkey, tmp_path: Path) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            decision, message = a_pair(tenant)
            recorder = a_recorder(store)
            first = await put(recorder, decision, message)
            later = replace(decision, decision_id="another", effect=Effect.DENY)
            before = await put(recorder, later, message)
            await settle(sequencer)
            after = await put(recorder, later, message)
            assert before == replace(first, replayed=True)
            assert after == replace(
                first, replayed=True, receipt=replace(first.receipt, leaf_index=0)
            )
            assert await recorder.find(tenant, message.id) == decision
            kept = await recorder.decision(tenant, decision.decision_id)
            assert kept is not None
            assert kept.decision == decision
            assert kept.receipt.leaf_index == 0
            assert await recorder.find(tenant, "unknown") is None
            assert await recorder.decision(tenant, "another") is None
            assert len(entries_of(tmp_path, tenant)) == 1

    asyncio.run(scenario())


def test_an_append_whose_answer_got_lost_is_not_taken_for_a_repetition(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            recorder = a_recorder(store)
            decision, message = a_pair(valkey.tenant())
            first = await put(recorder, decision, message)
            assert await put(recorder, decision, message) == first

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        {"content": {"action": "email.delete"}},
        {"recipient": "another"},
        {"metadata": {"a": 1}},
        {"sender": "somebody-else"},
        {"session_id": "s"},
    ],
)
def test_another_request_under_the_same_id_is_refused(
    valkey: Valkey, change: dict[str, object]
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store:
            recorder = a_recorder(store)
            decision, message = a_pair(tenant)
            await put(recorder, decision, message)
            other = a_message(**{"id": message.id, "tenant": tenant, **change})  # type: ignore[arg-type]
            with pytest.raises(RefusalError) as refusal:
                await put(recorder, decision, other)
            assert refusal.value.code == "message.id_reused"
            assert refusal.value.status == 409
            with pytest.raises(RefusalError):
                await put(recorder, replace(decision, delivers=False), message)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "case",
    [
        (Effect.ALLOW, True, keys.outbox),
        (Effect.ALLOW, False, None),
        (Effect.REVIEW, True, keys.held),
        (Effect.REVIEW, False, keys.held),
        (Effect.DENY, True, None),
    ],
)
def test_the_promise_is_kept_with_the_record(
    valkey: Valkey, case: tuple[Effect, bool, object]
) -> None:
    tenant = valkey.tenant()
    effect, delivers, place = case

    async def scenario() -> None:
        async with valkey.store() as store:
            decision, message = a_pair(tenant)
            decision = replace(decision, effect=effect, delivers=delivers)
            await put(a_recorder(store), decision, message)
            for name in (keys.outbox, keys.held):
                held = await store.execute("HGET", name(tenant), decision.decision_id)
                if name is place:
                    assert isinstance(held, bytes)
                    assert open_parcel(held) == message
                else:
                    assert held is None

    asyncio.run(scenario())


def test_defect_15_equal_decisions_are_two_leaves(valkey: Valkey, tmp_path: Path) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store)
            principal = a_principal(tenant=tenant)
            refused = {"code": "message.expired", "request_digest": "sha256:00"}
            one = await recorder.refuse(principal, **refused)
            two = await recorder.refuse(principal, **refused)
            assert one.leaf_hash != two.leaf_hash
            await settle(sequencer)
            assert [open_entry(each).kind for each in entries_of(tmp_path, tenant)] == [
                "refusal",
                "refusal",
            ]

    asyncio.run(scenario())


def test_a_reveal_is_an_entry_that_says_who_saw_what_kind_of_thing_and_never_what(
    valkey: Valkey, tmp_path: Path
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            receipt = await a_recorder(store).reveal(
                a_principal(tenant=tenant, agent="rita", roles=frozenset({"reviewer"})),
                review_id="review-1",
                action_digest="sha256:00",
                masked=("email", "iban"),
            )
            await settle(sequencer)
            [data] = entries_of(tmp_path, tenant)
            assert b64encode(leaf_hash(data)).decode() == receipt.leaf_hash
            found = open_entry(data)
            assert found.kind == "reveal"
            assert (
                found.body["reveal"].items()
                > {
                    "tenant": tenant,
                    "agent": "rita",
                    "roles": ["reviewer"],
                    "review_id": "review-1",
                    "action_digest": "sha256:00",
                    "masked": ["email", "iban"],
                }.items()
            )
            assert found.body["reveal"].keys() - {"at"} == {
                *("tenant", "agent", "roles", "review_id", "action_digest", "masked")
            }

    asyncio.run(scenario())


def test_nothing_is_revealed_while_the_log_is_halted_or_too_far_behind(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store:
            recorder, rita = a_recorder(store), a_principal(tenant=tenant, agent="rita")
            seen = {"review_id": "r-1", "action_digest": "sha256:00", "masked": ("email",)}
            await store.execute("SET", keys.halted(tenant), "a fork")
            with pytest.raises(DependencyError, match="a fork"):
                await recorder.reveal(rita, **seen)
            await store.execute("DEL", keys.halted(tenant))
            assert await store.execute("XLEN", keys.wal(tenant)) == 0
            await recorder.reveal(rita, **seen)
            monkeypatch.setattr(wal, "WAITING_MAX", 1)
            with pytest.raises(DependencyError, match="too far behind"):
                await recorder.reveal(rita, **seen)
            assert await store.execute("XLEN", keys.wal(tenant)) == 1

    asyncio.run(scenario())


def test_defect_15_a_partial_batch_is_not_lost_at_stop(valkey: Valkey, tmp_path: Path) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store)
            running = asyncio.create_task(sequencer.run())
            await asyncio.gather(*(put(recorder, *a_pair(tenant)) for _ in range(7)))
            sequencer.stop()
            await running
            # a tenant that arrived after the last look is taken in by the next start
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            await settle(sequencer)
            assert len(entries_of(tmp_path, tenant)) == 7

    asyncio.run(scenario())


def test_erased_evidence_is_gone_and_the_tree_still_verifies(
    valkey: Valkey, tmp_path: Path
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store)
            decision, message = a_pair(tenant)
            await put(recorder, decision, message)
            await settle(sequencer)
            found = open_entry(entries_of(tmp_path, tenant)[0])
            assert b"minutes of the meeting" in await recorder.evidence(found)
            assert b"minutes of the meeting" not in entries_of(tmp_path, tenant)[0]

            officer = a_principal(tenant=tenant, agent="officer")
            await recorder.erase(tenant, decision.agent, by=officer, reason="asked to")
            with pytest.raises(EvidenceError):
                await recorder.evidence(found)
            with pytest.raises(RefusalError):
                await recorder.erase(tenant, decision.agent, by=officer, reason="again")
            again = await put(recorder, *a_pair(tenant))
            assert not again.replayed
            await settle(sequencer)
            kinds = [open_entry(each).kind for each in entries_of(tmp_path, tenant)]
            assert kinds == ["decision", "erasure", "decision"]
            newest = open_entry(entries_of(tmp_path, tenant)[2])
            assert b"minutes of the meeting" in await recorder.evidence(newest)
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            assert sequencer.status()[tenant].size == 3

    asyncio.run(scenario())


def test_nothing_is_sealed_under_a_key_that_another_process_erased(
    valkey: Valkey, tmp_path: Path
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            one, other = a_recorder(store), a_recorder(store)
            await put(one, *a_pair(tenant))
            await other.erase(tenant, "writer", by=a_principal(tenant=tenant), reason="asked")
            await put(one, *a_pair(tenant))
            await settle(sequencer)
            newest = open_entry(entries_of(tmp_path, tenant)[-1])
            assert await one.evidence(newest)

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [10_000, 30_000, 60_000, 900_000])
def test_large_content_never_makes_a_large_entry(valkey: Valkey, tmp_path: Path, size: int) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store)
            content = {"action": "a" * (size // 2), "text": "x" * (size // 2)}
            decision, message = a_pair(tenant, content=content)
            decision = replace(decision, action=message.action, tool=message.action)
            await put(recorder, decision, message)
            await settle(sequencer)
            (data,) = entries_of(tmp_path, tenant)
            assert len(data) <= 65_535
            kept = await recorder.decision(tenant, decision.decision_id)
            assert kept is not None
            assert kept.decision == decision

    asyncio.run(scenario())


def test_a_forged_record_stops_its_tenant_and_nobody_else(valkey: Valkey, tmp_path: Path) -> None:
    tenant, neighbour = valkey.tenant(), valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store)
            await put(recorder, *a_pair(tenant))
            forged = await store.execute("XADD", keys.wal(tenant), "*", "b", "{}", "m", "x")
            await put(recorder, *a_pair(tenant))
            await put(recorder, *a_pair(neighbour))
            await settle(sequencer)
            status = sequencer.status()
            assert isinstance(forged, bytes)
            assert forged.decode() in (status[tenant].stopped or "")
            assert status[tenant].stopped_code == "wal.mac_invalid"
            assert status[tenant].size == 1
            assert status[neighbour].stopped is None
            with pytest.raises(DependencyError, match=r"wal\.mac_invalid"):
                await put(recorder, *a_pair(tenant))
            await put(recorder, *a_pair(neighbour))
            assert status[neighbour].size == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind":"decision"}',
        b'{"kind":"decision","decision":{},"evidence":{"digest":"sha256:00"}}',
        b'{"kind":"key_rotation","key_rotation":{},"v":1}',
        b'{"kind":"refusal","v":1,"x":"' + b"x" * 65_536 + b'"}',
    ],
)
def test_a_record_with_our_mac_that_is_no_entry_stops_its_tenant_too(
    valkey: Valkey, tmp_path: Path, body: bytes
) -> None:
    from actors.ledger.wal import mac

    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            proof = mac(SECRETS.wal_key, tenant, body)
            await store.execute("XADD", keys.wal(tenant), "*", "b", body, "m", proof)
            await store.execute("SADD", keys.TENANTS, tenant)
            await settle(sequencer)
            assert sequencer.status()[tenant].stopped_code == "wal.malformed"
            assert sequencer.status()[tenant].size == 0

    asyncio.run(scenario())


def test_evidence_taken_out_of_a_record_stops_its_tenant(valkey: Valkey, tmp_path: Path) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            await put(a_recorder(store), *a_pair(tenant, content={"text": "x" * 50_000}))
            ((_, fields),) = await store.execute("XRANGE", keys.wal(tenant), "-", "+")  # type: ignore[misc]
            await store.execute("DEL", keys.wal(tenant))
            await store.execute("XADD", keys.wal(tenant), "*", *fields[:4])
            await settle(sequencer)
            assert sequencer.status()[tenant].stopped_code == "wal.malformed"

    asyncio.run(scenario())


def test_a_record_played_again_stops_its_tenant(valkey: Valkey, tmp_path: Path) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            await put(a_recorder(store), *a_pair(tenant))
            reply = await store.execute("XRANGE", keys.wal(tenant), "-", "+")
            assert isinstance(reply, list)
            await store.execute("XADD", keys.wal(tenant), "*", *reply[0][1])
            await settle(sequencer)
            assert sequencer.status()[tenant].stopped_code == "wal.replayed"
            assert sequencer.status()[tenant].size == 1

    asyncio.run(scenario())


def test_a_changed_effect_in_the_stream_does_not_reach_the_tree(
    valkey: Valkey, tmp_path: Path
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            decision, message = a_pair(tenant)
            await put(a_recorder(store), replace(decision, effect=Effect.DENY), message)
            ((_, fields),) = await store.execute("XRANGE", keys.wal(tenant), "-", "+")  # type: ignore[misc]
            fields[1] = fields[1].replace(b'"effect":"deny"', b'"effect":"allow"')
            await store.execute("DEL", keys.wal(tenant))
            await store.execute("XADD", keys.wal(tenant), "*", *fields)
            await settle(sequencer)
            assert sequencer.status()[tenant].stopped_code == "wal.mac_invalid"
            assert entries_of(tmp_path, tenant) == []

    asyncio.run(scenario())


def test_a_record_that_the_log_has_passed_by_is_not_silently_dropped(
    valkey: Valkey, tmp_path: Path
) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store:
            async with a_sequencer(store, tmp_path) as sequencer:
                recorder = a_recorder(store)
                await put(recorder, *a_pair(tenant))
                await settle(sequencer)
            ((_, fields),) = await store.execute("XRANGE", keys.wal(tenant), "-", "+")  # type: ignore[misc]
            await store.execute("DEL", keys.wal(tenant))
            await store.execute("XADD", keys.wal(tenant), "1-1", *fields)
            async with a_sequencer(store, tmp_path) as sequencer:
                assert sequencer.status()[tenant].stopped_code == "wal.out_of_order"

    asyncio.run(scenario())


def test_ids_never_restart_below_the_log(valkey: Valkey, tmp_path: Path) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store:
            async with a_sequencer(store, tmp_path) as sequencer:
                await put(a_recorder(store), *a_pair(tenant))
                await settle(sequencer)
            await store.execute("DEL", keys.wal(tenant))
            async with a_sequencer(store, tmp_path) as sequencer:
                with pytest.raises(Exception, match="smaller"):
                    await store.execute("XADD", keys.wal(tenant), "5-1", "b", "x")
                await put(a_recorder(store), *a_pair(tenant))
                await settle(sequencer)
                assert sequencer.status()[tenant].size == 2

    asyncio.run(scenario())


def test_only_one_sequencer_holds_the_folder(valkey: Valkey, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path):
            with pytest.raises(Exception, match="another process writes"):
                async with a_sequencer(store, tmp_path):
                    raise AssertionError

    asyncio.run(scenario())


def test_a_ledger_rolled_back_to_an_older_signed_state_is_not_served(
    valkey: Valkey, tmp_path: Path
) -> None:
    import shutil

    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store:
            async with a_sequencer(store, tmp_path / "ledger") as sequencer:
                recorder = a_recorder(store)
                await put(recorder, *a_pair(tenant))
                await settle(sequencer)
                shutil.copytree(tmp_path / "ledger", tmp_path / "old")
                await put(recorder, *a_pair(tenant))
                await settle(sequencer)
            shutil.rmtree(tmp_path / "ledger")
            shutil.copytree(tmp_path / "old", tmp_path / "ledger")
            with pytest.raises(TamperedError) as found:
                async with a_sequencer(store, tmp_path / "ledger"):
                    raise AssertionError
            assert found.value.code == "ledger.rolled_back"
            shutil.rmtree(tmp_path / "ledger")
            with pytest.raises(TamperedError) as found:
                async with a_sequencer(store, tmp_path / "ledger"):
                    raise AssertionError
            assert found.value.code == "ledger.checkpoint_missing"

    asyncio.run(scenario())


def test_many_appends_at_once_all_arrive_in_order(valkey: Valkey, tmp_path: Path) -> None:
    tenant = valkey.tenant()

    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store)
            done = await asyncio.gather(*(put(recorder, *a_pair(tenant)) for _ in range(3000)))
            while sequencer.status().get(tenant) is None or sequencer.status()[tenant].size < 3000:
                await settle(sequencer)
            leaves = {leaf_hash(each) for each in entries_of(tmp_path, tenant)}
            assert {b64decode(each.receipt.leaf_hash) for each in done} == leaves
            assert len(leaves) == 3000

    asyncio.run(scenario())


def test_a_record_error_names_its_stream_id() -> None:
    assert "7-1" in str(WalRecordError("wal.mac_invalid", "7-1", "no"))
