"""A real embedded Valkey for the contract tests of every room.

How to use it, from any file in `tests/contract/`:

    def test_a_thing_is_kept(valkey):                       # one server for the whole session
        async def scenario() -> None:
            async with valkey.store() as store:             # a fresh RedisStore on this event loop
                await store.execute("SET", keys.wal(valkey.tenant()), "x")

        asyncio.run(scenario())

* `valkey.store()` makes a new store; make it inside the running loop, one for each `asyncio.run`.
  Keyword arguments replace settings: `valkey.store(store_timeout_ms=100)`.
* `valkey.tenant()` is a tenant that no other test has: isolate by tenant, never flush.
* `valkey.settings` are the `Settings` of the server (embedded, in a temporary folder).
* `valkey.socket` is its unix socket, `valkey.pid()` its process id.
* Do not kill or stop this server: it is shared. A test that kills asks for `own_valkey`, the same
  thing on a server of its own, where `valkey.server.kill()` and `.start()` exist.

For annotations: `if TYPE_CHECKING: from contract.conftest import Valkey`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.breaker.registry import CORE_SERVICES
from cluster.settings import Settings
from cluster.store.connect import open_store
from cluster.store.embedded import EmbeddedValkey
from cluster.store.folder import Folder
from cluster.store.redis_store import RedisStore

_SERIAL = itertools.count()


class Server:
    """One embedded Valkey, exactly as the application runs it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.folder = EmbeddedValkey(data_dir).folder

    def start(self) -> None:
        async def start() -> None:
            valkey = EmbeddedValkey(self.data_dir)
            await valkey.ensure()
            await valkey.close()

        asyncio.run(start())

    def pid(self) -> int:
        (pid,) = self.folder.holders()
        return pid

    def kill(self) -> None:
        """Kill it as a crash would, and return when it is gone."""
        for pid in self.folder.holders():
            os.kill(pid, signal.SIGKILL)
        while not self.folder.is_free():
            pass


class Valkey:
    """What a test gets: stores and tenants of its own on a real server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.settings = Settings(data_dir=server.data_dir, redis_url=None)

    @property
    def socket(self) -> Path:
        return self.server.folder.socket

    def pid(self) -> int:
        return self.server.pid()

    def tenant(self) -> str:
        return f"t{next(_SERIAL)}-{uuid.uuid4().hex[:8]}"

    @asynccontextmanager
    async def store(
        self, *, circuit: Circuit | None = None, **settings: object
    ) -> AsyncIterator[RedisStore]:
        # A circuit of its own: one test's outage is not the next one's.
        circuit = circuit or Circuit("store", CircuitBreakerConfig(reset_timeout=0.2))
        store = open_store(
            self.settings.model_copy(update=settings), guard=lambda _name, call: circuit.run(call)
        )
        async with store:
            yield store


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield Valkey(server)
    server.kill()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Server(tmp_path)
    server.start()
    yield Valkey(server)
    server.kill()


# For the tests of the embedded server itself; others have enough with `valkey`.


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for folder in (tmp_path, *tmp_path.iterdir()):
        for pid in Folder(folder).holders():
            os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def open_at(data_dir: Path, *, circuit: Circuit | None = None) -> AsyncIterator[RedisStore]:
    circuit = circuit or Circuit("store", CORE_SERVICES["store"])
    settings = Settings(data_dir=data_dir, redis_url=None)
    async with open_store(settings, guard=lambda _name, call: circuit.run(call)) as store:
        yield store


@asynccontextmanager
async def embedded_at(data_dir: Path, **options: float) -> AsyncIterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(data_dir, **options)
    try:
        yield valkey
    finally:
        await valkey.close()
