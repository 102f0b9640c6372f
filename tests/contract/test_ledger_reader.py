"""What gateways and auditors get out of a ledger that a real store filled."""

from __future__ import annotations

import asyncio
import base64
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from contract.test_ledger_road import (
    CLOCK,
    ORIGIN,
    SECRETS,
    Secrets,
    a_pair,
    a_recorder,
    a_sequencer,
    put,
    settle,
)

from actors.ledger import checkpoint as notes
from actors.ledger.audit import HttpSource, audit, open_place, tenants_in
from actors.ledger.checkpoint import Signer
from actors.ledger.errors import ProofError, TamperedError
from actors.ledger.generation import current
from actors.ledger.index import INDEX
from actors.ledger.keys import public_keys
from actors.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from actors.ledger.reader import LedgerReader, tlog_proof_text
from actors.ledger.verify import verify_log
from policies.decision import Effect
from policies.errors import DependencyError, RefusalError

from builders import a_principal

if TYPE_CHECKING:
    from contract.conftest import Valkey

ROOT_KEY = Signer(ORIGIN, SECRETS.ledger_seeds[0]).verifier
PUBLICS = public_keys(SECRETS.ledger_seeds)


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    return own_valkey


def a_reader(folder: Path, **changes: object) -> LedgerReader:
    return LedgerReader(folder, origin=ORIGIN, publics=PUBLICS, **changes)  # type: ignore[arg-type]


async def filled(valkey: Valkey, folder: Path, tenants: dict[str, int]) -> None:
    async with valkey.store() as store, a_sequencer(store, folder) as sequencer:
        recorder = a_recorder(store)
        for tenant, count in tenants.items():
            for _ in range(count):
                await put(recorder, *a_pair(tenant))
                await settle(sequencer)


def test_a_proof_leads_from_the_decision_to_the_root_of_all_tenants(
    valkey: Valkey, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store)
            done = [await put(recorder, *a_pair("acme")) for _ in range(5)]
            await put(recorder, *a_pair("globex"))
            await settle(sequencer)
            reader = a_reader(tmp_path)
            proof = await reader.proof("acme", done[3].decision.decision_id)
            assert proof is not None
            here = proof.inclusion
            assert here.leaf_index == 3
            assert base64.b64encode(here.leaf).decode() == done[3].receipt.leaf_hash
            verify_inclusion(leaf_hash(here.entry), 3, 5, path=here.path, root=here.checkpoint.root)
            above = proof.root
            assert above is not None
            assert above.entry.decode() == here.checkpoint.note
            verify_inclusion(
                leaf_hash(above.entry),
                above.leaf_index,
                above.checkpoint.size,
                path=above.path,
                root=above.checkpoint.root,
            )
            notes.opened(above.checkpoint.note, [ROOT_KEY])
            assert await reader.proof("acme", "unknown") is None
            assert await reader.proof("globex", done[3].decision.decision_id) is None

            text = tlog_proof_text(proof)
            lines = text.split("\n")
            assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 3"]
            assert [base64.b64decode(line) for line in lines[2 : 2 + len(here.path)]] == here.path
            assert text.split("\n\n", 1)[1] == here.checkpoint.note
            await reader.close()

    asyncio.run(scenario())


def test_tiles_of_every_signed_size_are_served_and_nothing_beyond(
    valkey: Valkey, tmp_path: Path
) -> None:
    async def scenario() -> None:
        await filled(valkey, tmp_path, {"acme": 9})
        reader = a_reader(tmp_path)
        wide = await reader.tile("acme", "tile/0/000.p/9")
        bundle = await reader.tile("acme", "tile/entries/000.p/9")
        assert wide is not None
        assert bundle is not None
        for width in range(1, 9):
            assert await reader.tile("acme", f"tile/0/000.p/{width}") == wide[: 32 * width]
            some = await reader.tile("acme", f"tile/entries/000.p/{width}")
            assert some is not None
            assert bundle.startswith(some)
        for path in ("tile/0/000.p/10", "tile/0/000", "tile/1/000.p/1", "checkpoint", "../x"):
            assert await reader.tile("acme", path) is None
        with pytest.raises(RefusalError):
            await reader.tile("../..", "tile/0/000.p/1")
        assert await reader.tile("nobody", "tile/0/000.p/1") is None
        assert await reader.checkpoint("nobody") is None

    asyncio.run(scenario())


def test_growth_is_proved_between_any_two_sizes_but_not_from_nothing(
    valkey: Valkey, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder, reader, seen = a_recorder(store), a_reader(tmp_path), []
            for _ in range(6):
                await put(recorder, *a_pair("acme"))
                await settle(sequencer)
                seen.append(notes.parse(await reader.checkpoint("acme") or ""))
            for one in seen:
                for two in seen[one.size - 1 :]:
                    path = await reader.consistency("acme", one.size, two.size)
                    verify_consistency(
                        one.size,
                        two.size,
                        path=path,
                        first_root=one.root,
                        second_root=two.root,
                    )
            for first, second in [(0, 0), (0, 3), (4, 3), (3, 7), (-1, 2)]:
                with pytest.raises(RefusalError) as refused:
                    await reader.consistency("acme", first, second)
                assert refused.value.status == 422

    asyncio.run(scenario())


def test_decisions_are_listed_newest_first_by_filter_and_page(
    valkey: Valkey, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder, made = a_recorder(store), []
            start = CLOCK.now()
            for n in range(10):
                decision, message = a_pair("acme")
                decision = replace(
                    decision,
                    effect=Effect.DENY if n % 3 == 0 else Effect.ALLOW,
                    agent="even" if n % 2 == 0 else "odd",
                    decided_at=start + timedelta(seconds=n),
                )
                made.append(decision)
                await put(recorder, decision, message)
            await recorder.refuse(
                a_principal(tenant="acme"), code="message.expired", request_digest="sha256:00"
            )
            await settle(sequencer)
            reader = a_reader(tmp_path)
            page = await reader.decisions("acme", limit=4)
            assert [each for each, _ in page.decisions] == made[:5:-1]
            assert [each.leaf_index for _, each in page.decisions] == [9, 8, 7, 6]
            rest = await reader.decisions("acme", limit=100, cursor=page.next_cursor)
            assert [each for each, _ in rest.decisions] == made[5::-1]
            assert rest.next_cursor is None
            denied = await reader.decisions("acme", effect=Effect.DENY, agent="even")
            assert [each for each, _ in denied.decisions] == [made[6], made[0]]
            since = await reader.decisions("acme", since=made[7].decided_at)
            assert [each for each, _ in since.decisions] == made[:6:-1]
            until = await reader.decisions("acme", until=made[2].decided_at)
            assert [each for each, _ in until.decisions] == made[1::-1]
            with pytest.raises(RefusalError):
                await reader.decisions("acme", cursor="!")
            found = await reader.recorded("acme", made[4].decision_id)
            assert found is not None
            assert found.decision == made[4]
            older = await reader.recorded_for("acme", made[4].message_id)
            assert older == found
            assert len(list(reader.entries("acme"))) == 11

    asyncio.run(scenario())


def test_after_the_replay_window_the_archive_answers(valkey: Valkey, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            recorder = a_recorder(store, replay_window_s=1, archive=a_reader(tmp_path))
            decision, message = a_pair("acme")
            await put(recorder, decision, message)
            await settle(sequencer)
            await asyncio.sleep(1.2)
            assert await recorder.find("acme", message.id) == decision
            kept = await recorder.decision("acme", decision.decision_id)
            assert kept is not None
            assert kept.decision == decision
            assert await recorder.find("acme", "another") is None

    asyncio.run(scenario())


def test_a_caller_can_wait_until_the_leaf_is_signed(valkey: Valkey, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with valkey.store() as store, a_sequencer(store, tmp_path) as sequencer:
            running = asyncio.create_task(sequencer.run())
            recorder, reader = a_recorder(store), a_reader(tmp_path, store=store)
            done = [await put(recorder, *a_pair("acme")) for _ in range(3)]
            waits = [
                reader.wait_for_leaf("acme", name, timeout_s=5)
                for each in done
                for name in (each.decision.decision_id, each.receipt.entry_id)
            ]
            assert await asyncio.gather(*waits) == [0, 0, 1, 1, 2, 2]
            assert await reader.wait_for_leaf("acme", "unknown", timeout_s=0.05) is None
            assert await reader.wait_for_leaf("nobody", "unknown", timeout_s=0.05) is None
            standing = await reader.standing("acme")
            assert standing.size == 3
            assert standing.lag_s == 0.0
            assert standing.last_id == done[2].receipt.entry_id
            assert "every tenant" in await reader.check(store)
            sequencer.stop()
            await running
            await put(recorder, *a_pair("acme"))
            await asyncio.sleep(0.05)
            late = await reader.standing("acme")
            assert late.lag_s is not None
            assert late.lag_s > 0.03

    asyncio.run(scenario())


def test_readiness_fails_when_no_sequencer_runs(valkey: Valkey, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            with pytest.raises(DependencyError, match="no sequencer"):
                await a_reader(tmp_path).check(store)

    asyncio.run(scenario())


def test_a_file_altered_while_we_run_is_not_served_as_a_proof(
    valkey: Valkey, tmp_path: Path
) -> None:
    async def scenario() -> None:
        await filled(valkey, tmp_path, {"acme": 3})
        reader = a_reader(tmp_path)
        page = await reader.decisions("acme")
        path = tmp_path / "t/acme/tile/0/000.p/3"
        data = bytearray(path.read_bytes())
        data[5] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(ProofError):
            await a_reader(tmp_path).proof("acme", page.decisions[0][0].decision_id)

    asyncio.run(scenario())


@pytest.mark.parametrize("harm", ["missing", "damaged", "behind", "of another log"])
def test_the_index_is_made_again_when_it_must_be(valkey: Valkey, tmp_path: Path, harm: str) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            async with a_sequencer(store, tmp_path) as sequencer:
                recorder = a_recorder(store)
                first = await put(recorder, *a_pair("acme"))
                await settle(sequencer)
                index = current(tmp_path / "t/acme", INDEX)
                assert index is not None
                with sqlite3.connect(index) as source, sqlite3.connect(tmp_path / "old") as copy:
                    source.backup(copy)
                await put(recorder, *a_pair("acme"))
                await settle(sequencer)
            for path in index.parent.glob("index-*.sqlite-*"):
                path.unlink()
            if harm == "damaged":
                data = bytearray(index.read_bytes())
                data[2000:6000] = bytes(4000)
                index.write_bytes(bytes(data))
            elif harm == "behind":
                shutil.copy(tmp_path / "old", index)
            else:
                index.unlink()
            reader = a_reader(tmp_path)
            async with a_sequencer(store, tmp_path):
                assert (
                    await reader.wait_for_leaf("acme", first.decision.decision_id, timeout_s=1) == 0
                )
                assert len((await reader.decisions("acme")).decisions) == 2

    asyncio.run(scenario())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != "Bearer token":
                self.send_error(401)
                return
            super().do_GET()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_whole_ledger_verifies_from_a_folder_and_over_http(
    valkey: Valkey, tmp_path: Path
) -> None:
    asyncio.run(filled(valkey, tmp_path, {"acme": 4, "globex": 2}))
    found = audit(open_place(str(tmp_path)), ROOT_KEY, tenants=tenants_in(tmp_path))
    assert found.root is not None
    assert {name: each.checkpoint.size for name, each in found.logs.items()} == {
        "acme": 4,
        "globex": 2,
    }
    with served(tmp_path) as url:
        assert audit(open_place(url, token="token"), ROOT_KEY).logs == found.logs
        one = HttpSource(f"{url}/t/acme", token="token")
        key = notes.parse_key(a_reader(tmp_path).verifier_keys("acme"))
        assert verify_log(one, [key]).checkpoint.size == 4
        with pytest.raises(DependencyError, match="401"):
            audit(open_place(url), ROOT_KEY)


def test_a_log_that_has_not_begun_is_none_yet_and_one_that_is_gone_is_missed(
    valkey: Valkey, tmp_path: Path
) -> None:
    asyncio.run(filled(valkey, tmp_path, {"acme": 4, "globex": 2}))
    # A tenant that was introduced, and of whom nothing is on record: its index, and no checkpoint.
    quiet = tmp_path / "t" / "quiet"
    quiet.mkdir()
    shutil.copy(next((tmp_path / "t" / "acme").glob("index*")), quiet)
    assert tenants_in(tmp_path) == ["acme", "globex"]
    audit(open_place(str(tmp_path)), ROOT_KEY, tenants=tenants_in(tmp_path))
    shutil.rmtree(tmp_path / "t" / "globex")
    with pytest.raises(TamperedError) as gone:
        audit(open_place(str(tmp_path)), ROOT_KEY, tenants=tenants_in(tmp_path))
    assert gone.value.code == "ledger.checkpoint_missing"


def test_the_root_log_remembers_when_a_tenants_log_is_rewritten(
    valkey: Valkey, tmp_path: Path
) -> None:
    from actors.ledger.keys import log_origin, signers
    from actors.ledger.store import Folder
    from actors.ledger.tiles import unbundle
    from actors.ledger.writer import Opening, Writer

    asyncio.run(filled(valkey, tmp_path, {"acme": 4}))
    folder = tmp_path / "t/acme"
    entries = unbundle((folder / "tile/entries/000.p/4").read_bytes())
    shutil.rmtree(folder)
    forged = Opening(
        origin=log_origin(ORIGIN, "acme"),
        signers=signers(SECRETS.ledger_seeds, origin=ORIGIN, tenant="acme"),
    )
    entries[1] = entries[1].replace(b'"effect":"allow"', b'"effect":"deny"')
    Writer.open(Folder(folder), forged).commit([*entries, entries[-1].replace(b"}", b"}", 1)][:4])
    with pytest.raises(TamperedError) as found:
        audit(open_place(str(tmp_path)), ROOT_KEY)
    assert found.value.code in {"ledger.forked", "ledger.rewritten"}
    assert found.value.log == f"{ORIGIN}/t/acme"


def test_keys_rotate_under_a_running_ledger_and_old_trust_still_verifies(
    valkey: Valkey, tmp_path: Path
) -> None:
    newer = Secrets(ledger_seeds=(*SECRETS.ledger_seeds, bytes([9]) * 32))

    async def scenario() -> None:
        await filled(valkey, tmp_path, {"acme": 2})
        async with valkey.store() as store:
            for _ in range(2):
                async with a_sequencer(store, tmp_path, newer) as sequencer:
                    await put(a_recorder(store), *a_pair("acme"))
                    await settle(sequencer)
        reader = LedgerReader(tmp_path, origin=ORIGIN, publics=public_keys(newer.ledger_seeds))
        lines = reader.verifier_keys("acme").splitlines()
        assert len(lines) == 2
        note = await reader.checkpoint("acme") or ""
        assert notes.key_ids(note) == [(f"{ORIGIN}/t/acme", lines[0].split("+")[1])]
        assert await reader.rotation("acme", 0) is not None
        assert await reader.rotation("acme", 1) is None
        page = await reader.decisions("acme")
        assert len(page.decisions) == 4
        proof = await reader.proof("acme", page.decisions[-1][0].decision_id)
        assert proof is not None

    asyncio.run(scenario())
    found = audit(open_place(str(tmp_path)), ROOT_KEY)
    assert found.logs["acme"].checkpoint.size == 5


def test_a_new_key_without_the_old_one_is_not_believed(valkey: Valkey, tmp_path: Path) -> None:
    async def scenario() -> None:
        await filled(valkey, tmp_path, {"acme": 2})
        async with valkey.store() as store:
            with pytest.raises(TamperedError) as found:
                async with a_sequencer(store, tmp_path, Secrets(ledger_seeds=(bytes([9]) * 32,))):
                    raise AssertionError
            assert found.value.code == "ledger.key_unknown"

    asyncio.run(scenario())
