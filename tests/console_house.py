"""The console without a bus behind it: enough to get in, and no further."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import httpx
from fastapi import FastAPI

from actors.reviews.client import Page as ReviewPage
from cluster.identity.devkeys import mint_token
from cluster.identity.oidc import open_provider
from cluster.identity.verifier import open_verifier
from cluster.law import load_constitution
from cluster.settings import Environment, Settings
from cluster.store.client import Call
from policies.controls import Controls
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.message import Message
from policies.principal import Principal
from policies.rate import RateTable
from policies.review import OPEN, Person, Review
from serve_app.api import problems, reviews
from serve_app.console import sessions
from serve_app.console.routes import ROUTERS
from serve_app.console.sessions import Sessions

from builders import a_message, a_review, a_review_law
from fakes import FakeClock, FakeMeter

BASE: Final = "http://console.test"
HOUR: Final = timedelta(hours=1)


class DictStore:
    """A store of plain keys that expire by a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.people: dict[str, dict[str, float]] = {}
        self.down = False

    async def execute(self, *command: str | bytes | float) -> object:
        if self.down:
            raise DependencyError("store", "it is down")
        name, key = str(command[0]), str(command[1])
        value, ends_s = self.kept.get(key, (b"", 0.0))
        found = value if self._clock.monotonic_s() < ends_s else None
        match name:
            case "SET":
                assert isinstance(command[2], bytes)
                self.kept[key] = command[2], self._clock.monotonic_s() + float(command[4])
            case "GETDEL" | "DEL":
                self.kept.pop(key, None)
        return found

    async def run(self, call: Call) -> object:
        """What the scripts of the sessions do, without Lua; tests/contract has the real ones."""
        if self.down:
            raise DependencyError("store", "it is down")
        prefix, person = call.keys
        now_s = self._clock.monotonic_s()
        begun = self.people.setdefault(person, {})
        for name in [
            name for name in begun if self.kept.get(prefix + name, (b"", 0.0))[1] <= now_s
        ]:
            del begun[name]
        if call.script is sessions.BEGIN:
            handle, sealed, seconds, at, most = call.args
            assert isinstance(handle, str)
            assert isinstance(sealed, bytes)
            over = sorted(begun, key=begun.__getitem__)[: max(0, len(begun) + 1 - int(most))]
            for old in over:
                del begun[old]
                del self.kept[prefix + old]
            self.kept[prefix + handle] = sealed, now_s + float(seconds)
            begun[handle] = float(at)
            return len(over)
        if call.script is sessions.END_ALL:
            for name in begun:
                del self.kept[prefix + name]
            return len(self.people.pop(person))
        assert call.script is sessions.ALIVE
        ordered = sorted(begun.items(), key=lambda item: item[1])
        return [part for name, at in ordered for part in (name.encode(), str(at).encode())]

    async def run_many(self, calls: object) -> list[object]:
        raise NotImplementedError


class House:
    """The console without a bus behind it: enough to get in, and no further."""

    def __init__(
        self,
        folder: Path,
        *,
        env: Environment = Environment.DEV,
        clock: FakeClock | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(data_dir=folder, **settings)
        self.clock, self.meter = clock or FakeClock(), FakeMeter()
        self.store = DictStore(self.clock)
        self.controls = Controls()
        self.content: dict[str, Any] = {"args": {"mail": "anna.svensson@example.com"}}
        self.others: list[Review] = []
        self.ledger_down = False
        self.revealed: list[tuple[str, ...]] = []
        self.sessions = Sessions(self.store)
        board = SimpleNamespace(current=lambda: self.controls)
        self.services = SimpleNamespace(
            settings=self.settings.model_copy(update={"env": env}),
            clock=self.clock,
            meter=self.meter,
            sessions=self.sessions,
            provider=open_provider(self.settings, clock=self.clock),
            attempts=RateTable(rate_s=1.0, burst=20),
            controls=board,
            verifier=open_verifier(self.settings, clock=self.clock, controls=board.current),
            mailboxes=self,
            desk=self,
            recorder=self,
            law=SimpleNamespace(reviews=a_review_law(), constitution=load_constitution()),
        )
        self.app = FastAPI(openapi_url=None)
        self.app.state.services = self.services
        for router in (*ROUTERS, reviews.router):
            self.app.include_router(router)
        self.app.add_exception_handler(GovernanceError, problems.on_governance_error)

    async def agents(self, tenant: str, *, after: str, limit: int) -> list[object]:
        assert (tenant, after, limit) == ("acme", "", 100)
        return []

    def reviews(self) -> list[Review]:
        """What is there: the one that every test can read, and those that a test adds."""
        known = a_review(
            resource="<b>bold\u202e</b>",
            opened_at=self.clock.now(),
            expires_at=self.clock.now() + HOUR,
        )
        return [known, *self.others]

    async def find(self, principal: Principal, review_id: str) -> Review:
        assert principal.tenant == "acme"
        for review in self.reviews():
            if review.review_id == review_id:
                return review
        raise RefusalError("review.not_found", "no such review in this tenant", 404)

    async def listed(
        self, principal: Principal, *, states: object, limit: int, cursor: str | None
    ) -> ReviewPage:
        assert (principal.tenant, states) == ("acme", OPEN)
        ordered = sorted(self.reviews(), key=lambda one: (one.opened_at, one.review_id))
        first = int(cursor or 0)
        some = ordered[first : first + limit]
        more = first + limit < len(ordered)
        return ReviewPage(tuple(some), str(first + limit) if more else None)

    async def person(self, principal: Principal) -> Person:
        return Person(name=principal.agent, owner=principal.owner, roles=principal.roles)

    async def precedents(self, principal: Principal, review_id: str, *, limit: int) -> list[object]:
        assert (principal.tenant, limit) == ("acme", 5), review_id
        return []

    async def same_count(self, principal: Principal, digest: str) -> int:
        assert principal.tenant == "acme", digest
        return 1

    async def message(self, principal: Principal, review_id: str) -> Message:
        assert (principal.tenant, review_id) == ("acme", "decision-1")
        return a_message(content=self.content)

    async def reveal(
        self, principal: Principal, *, review_id: str, action_digest: str, masked: Sequence[str]
    ) -> None:
        if self.ledger_down:
            raise DependencyError("ledger", "it is down")
        self.revealed.append((principal.agent, review_id, action_digest, *masked))

    async def position(self, principal: Principal) -> str:
        assert principal.tenant == "acme"
        return "7-0"

    def token(self, *roles: str, ttl_s: float = 3600, agent: str = "rita") -> str:
        return mint_token(
            self.settings,
            tenant="acme",
            agent=agent,
            roles=roles or ("reviewer",),
            ttl_s=ttl_s,
            now=self.clock.now(),
        )

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url=BASE)

    async def signed_in(self, client: httpx.AsyncClient, **token: Any) -> httpx.Response:
        code = await self.sessions.ticket(self.token(**token))
        return await client.post("/console/sign-in", data={"code": code})

    async def close(self) -> None:
        await self.services.verifier.close()
        if self.services.provider is not None:
            await self.services.provider.close()


def told(
    folder: Path,
    story: Callable[[House, httpx.AsyncClient], Awaitable[None]],
    **house_or_settings: Any,
) -> None:
    async def tell() -> None:
        house = House(folder, **house_or_settings)
        try:
            async with house.client() as client:
                await story(house, client)
        finally:
            await house.close()

    asyncio.run(tell())


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]
