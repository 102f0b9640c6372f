"""The control board on a real server: nothing lost, fresh within a second, closed when blind."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from token_builders import ISSUER, a_jwks, a_signer

from cluster.clock import SystemClock
from cluster.controls_board import ControlsBoard
from cluster.identity.jwks import parse_jwks
from cluster.identity.sources import FixedKeys
from cluster.identity.tokens import ClaimRules
from cluster.identity.verifier import TokenVerifier
from cluster.store.keys import CONTROLS
from policies.controls import Controls, KillScope
from policies.errors import DependencyError, RefusalError

from builders import NOW, a_principal

if TYPE_CHECKING:
    from contract.conftest import Valkey

    from cluster.store.client import Store

ACME = KillScope(tenant="acme", agent="writer", tool="Płatność")


def a_board(store: Store, **changes: float) -> ControlsBoard:
    return ControlsBoard(store, clock=SystemClock(), **changes)


def test_a_board_comes_back_as_it_was_written(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store:
            here, there = a_board(store), a_board(store)
            assert await there.refresh()
            assert there.current() == Controls()
            await here.kill(ACME, reason="it pays twice", by="olga")
            await here.revoke_token("token-1", 2e9 + 0.25)
            await here.revoke_agent("globex", "rogue")
            assert await there.refresh()
            assert there.current() == here.current() != Controls()
            assert await there.refresh(), "an unchanged board is read too"
            assert there.current().refusal(a_principal(), "PŁATNOŚĆ") is not None

    asyncio.run(scenario())


def test_operators_who_race_lose_nothing_of_each_other(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as first, own_valkey.store() as second:
            boards = [a_board(store) for store in (first, second) * 5]
            await asyncio.gather(
                *(board.revoke_agent("acme", f"agent-{n}") for n, board in enumerate(boards)),
                *(
                    board.kill(KillScope(tenant=f"tenant-{n}"), reason="race", by="olga")
                    for n, board in enumerate(boards)
                ),
                *(board.revoke_token(f"token-{n}", 2e9) for n, board in enumerate(boards)),
            )
            last = a_board(first)
            await last.refresh()
            controls = last.current()
            assert len(controls.revoked_agents) == 10
            assert len(controls.kills) == 10
            assert len(controls.revoked_tokens) == 10

    asyncio.run(scenario())


def test_a_revocation_works_in_every_process_within_a_second(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with (
            own_valkey.store() as first,
            own_valkey.store() as second,
            a_board(first) as here,
            a_board(second) as there,
        ):
            signer = a_signer()
            keys = FixedKeys(parse_jwks(a_jwks(signer.jwk())))
            rules = ClaimRules(issuer=ISSUER, audience="acgs", leeway_s=30)
            verifier = TokenVerifier(rules, keys, there.current)
            by_token = signer.token(jti="stolen")
            by_agent = signer.token(jti="other", sub="rogue")
            for token in (by_token, by_agent):
                await verifier.verify(token, NOW)
            await here.revoke_token("stolen", 2e9)
            await here.revoke_agent("acme", "rogue")
            started = time.monotonic()
            left = [by_token, by_agent]
            while left and time.monotonic() - started < 5:
                await asyncio.sleep(0.02)
                left = [token for token in left if _is_recalled(verifier, token)]
            assert not left
            assert time.monotonic() - started < 1.0

    asyncio.run(scenario())


def _is_recalled(verifier: TokenVerifier, token: str) -> bool:
    try:
        return verifier.recall(token, NOW) is not None
    except RefusalError:
        return False


def test_a_store_that_dies_closes_everything_and_opens_it_again_unchanged(
    own_valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with (
            own_valkey.store(store_timeout_ms=200) as store,
            a_board(store, refresh_s=0.05, grace_s=0.5) as board,
        ):
            await board.kill(ACME, reason="stop", by="olga")
            own_valkey.server.kill()
            assert board.current().kills, "for a moment the copy stands"
            with pytest.raises(DependencyError):
                await board.release(ACME)
            await asyncio.sleep(0.7)
            with pytest.raises(DependencyError, match="control board"):
                board.current()
            await asyncio.to_thread(own_valkey.server.start)
            assert await _reads_again(board)
            assert ACME.reach in board.current().kills

    asyncio.run(scenario())


async def _reads_again(board: ControlsBoard) -> bool:
    # The circuit of the store lets a trial call through some seconds after it opened.
    for _ in range(200):
        if await board.refresh():
            return True
        await asyncio.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "damage",
    [
        ("SET", CONTROLS, "a text"),
        ("HSET", CONTROLS, "state", "{}"),
        ("HSET", CONTROLS, "version", "7", "state", "{}"),
        ("HSET", CONTROLS, "version", "7-0123456789abcdef"),
        ("HSET", CONTROLS, "version", "7-0123456789abcdef", "state", '{"v":1}'),
    ],
    ids=["type", "no version", "version", "no state", "state"],
)
def test_a_damaged_board_is_never_an_empty_one(own_valkey: Valkey, damage: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store:
            await store.execute(*damage)
            board = a_board(store)
            assert not await board.refresh()
            with pytest.raises(DependencyError):
                board.current()
            with pytest.raises(DependencyError):
                await board.kill(ACME, reason="stop", by="olga")

    asyncio.run(scenario())


@pytest.mark.parametrize("loss", ["forgotten", "fell back"])
def test_a_board_that_the_store_lost_is_put_back(own_valkey: Valkey, loss: str) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store:
            board = a_board(store)
            await board.revoke_agent("acme", "first")
            backup = await store.execute("HGETALL", CONTROLS)
            await board.revoke_agent("acme", "second")
            await store.execute("DEL", CONTROLS)
            if loss == "fell back":
                assert isinstance(backup, list)
                await store.execute("HSET", CONTROLS, *backup)
            assert await board.refresh()
            other = a_board(store)
            await other.refresh()
            assert other.current().revoked_agents == {("acme", "first"), ("acme", "second")}

    asyncio.run(scenario())
