"""The bounds around every request: a full house says so at once, and its probes still answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cluster.settings import Settings
from serve_app.api.context import RequestContext

from fakes import FakeMeter


@dataclass
class House:
    """An application whose answers wait until a test says so."""

    ongoing_max: int = 2
    waiting_max: int = 1
    meter: FakeMeter = field(default_factory=FakeMeter)
    entered: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Starlette:
        async def slow(_: Request) -> Response:
            self.enter()
            await self.go.wait()
            return PlainTextResponse("done")

        async def broken(_: Request) -> Response:
            raise RuntimeError("a defect")

        async def stream(_: Request) -> Response:
            async def events() -> Any:
                self.enter()
                yield b": begun\n\n"
                await self.go.wait()
                yield b": ended\n\n"

            return StreamingResponse(events())

        async def probe(_: Request) -> Response:
            return PlainTextResponse("alive")

        app = Starlette(
            routes=[
                Route("/v1/messages", slow, methods=["POST"]),
                Route("/v1/broken", broken),
                Route("/v1/mailbox", slow),
                Route("/v1/mailbox/stream", stream),
                Route("/health/ready", probe),
                Route("/v1/health", probe),
                Route("/metrics", probe),
            ],
            middleware=[Middleware(RequestContext, echo=True)],
        )
        settings = Settings(
            ongoing_requests_max=self.ongoing_max, waiting_requests_max=self.waiting_max
        )
        app.state.services = SimpleNamespace(settings=settings, meter=self.meter)
        return app

    def enter(self) -> None:
        self.entered += 1
        self.came.set()

    async def until_entered(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.entered < count:
                self.came.clear()
                await self.came.wait()


def within(
    scenario: Callable[[House, httpx.AsyncClient], Coroutine[Any, Any, None]],
    *,
    ongoing_max: int = 2,
    waiting_max: int = 1,
) -> None:
    async def run() -> None:
        house = House(ongoing_max=ongoing_max, waiting_max=waiting_max)
        transport = httpx.ASGITransport(house.app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://bus") as http:
            await scenario(house, http)

    asyncio.run(run())


def assert_saturated(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "gateway.saturated"
    assert problem["request_id"] == answer.headers["X-Request-ID"]


def test_one_request_too_many_is_told_to_come_back_and_the_others_are_answered() -> None:
    async def scenario(house: House, http: httpx.AsyncClient) -> None:
        inside = [asyncio.create_task(http.post("/v1/messages")) for _ in range(2)]
        await house.until_entered(2)
        assert_saturated(await http.post("/v1/messages"))
        assert house.meter.codes == ["gateway.saturated"]
        house.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*inside)] == [200, 200]
        assert (await http.post("/v1/messages")).status_code == 200

    within(scenario)


def test_those_who_wait_for_messages_have_a_room_of_their_own() -> None:
    async def scenario(house: House, http: httpx.AsyncClient) -> None:
        waiting = asyncio.create_task(http.get("/v1/mailbox?wait_s=20"))
        await house.until_entered(1)
        assert_saturated(await http.get("/v1/mailbox?wait_s=20"))
        assert_saturated(await http.get("/v1/mailbox/stream"))
        working = asyncio.create_task(http.post("/v1/messages"))
        await house.until_entered(2)
        house.go.set()
        assert (await waiting).status_code == (await working).status_code == 200

    within(scenario, ongoing_max=1)


def test_a_stream_holds_its_place_until_it_ends() -> None:
    async def scenario(house: House, http: httpx.AsyncClient) -> None:
        streaming = asyncio.create_task(http.get("/v1/mailbox/stream"))
        await house.until_entered(1)
        assert_saturated(await http.get("/v1/mailbox"))
        house.go.set()
        assert (await streaming).text == ": begun\n\n: ended\n\n"
        assert (await http.get("/v1/mailbox")).status_code == 200

    within(scenario)


@pytest.mark.parametrize("path", ["/health/ready", "/v1/health", "/metrics"])
def test_probes_and_metrics_get_in_when_the_house_is_full(path: str) -> None:
    async def scenario(house: House, http: httpx.AsyncClient) -> None:
        inside = asyncio.create_task(http.post("/v1/messages"))
        await house.until_entered(1)
        assert (await http.get(path)).status_code == 200
        house.go.set()
        await inside

    within(scenario, ongoing_max=1, waiting_max=0)


def test_nobody_may_wait_where_no_places_are_set() -> None:
    async def scenario(_: House, http: httpx.AsyncClient) -> None:
        assert_saturated(await http.get("/v1/mailbox"))

    within(scenario, waiting_max=0)


def test_a_defect_and_a_caller_who_leaves_give_their_places_back() -> None:
    async def scenario(house: House, http: httpx.AsyncClient) -> None:
        assert (await http.get("/v1/broken")).status_code == 500
        leaving = asyncio.create_task(http.post("/v1/messages"))
        await house.until_entered(1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        house.go.set()
        assert (await http.post("/v1/messages")).status_code == 200

    within(scenario, ongoing_max=1)
