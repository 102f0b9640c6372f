"""Dialling: one fresh connection to a server, to the primary that Sentinels name, or to any node.

RESP2, because its replies are what `Store` promises: bytes, ints, None and lists. No socket
timeout is set here: the caller's deadline ends whatever takes too long.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cluster.store.address import Address, Host, Login, Tls
from cluster.store.lanes import Dial

_PLAIN: Final[dict[str, Any]] = {
    "protocol": 2,
    "driver_info": None,
    "socket_timeout": None,
    "socket_connect_timeout": None,
}


def patiently(dial: Dial, *, pause_s: float = 0.025) -> Dial:
    """Return a dial that tries until a server takes calls; the caller's deadline ends it.

    Nothing was asked yet, so trying again harms nothing, and a store that is restarting within
    the deadline costs its callers that time and no error. What waiting does not mend, such as a
    wrong password, is raised at once.
    """

    async def dial_until_it_serves() -> AbstractConnection:
        while True:
            try:
                return await _serving(await dial())
            except AuthenticationError:
                raise
            except (LostConnectionError, RedisTimeoutError):
                await asyncio.sleep(pause_s)

    return dial_until_it_serves


def dial_socket(address: Address) -> Dial:
    """Return a dial to a server by its unix socket."""

    async def dial() -> AbstractConnection:
        connection = UnixDomainSocketConnection(
            path=str(address.path), db=address.db, **_login(address.login), **_PLAIN
        )
        return await _connected(connection)

    return dial


def dial_host(address: Address, host: Host) -> Dial:
    """Return a dial to one server of the address."""
    context = _context(address.tls)

    async def dial() -> AbstractConnection:
        return await _connected(_connection(host, address.login, context, db=address.db))

    return dial


def dial_any(address: Address, *, patience_s: float) -> Dial:
    """Return a dial to the first of the address's hosts that answers in time."""
    context = _context(address.tls)

    async def dial() -> AbstractConnection:
        problems: list[str] = []
        for host in address.hosts:
            try:
                async with asyncio.timeout(patience_s):
                    return await _connected(_connection(host, address.login, context))
            except (RedisError, OSError) as error:
                problems.append(f"{host.name}:{host.port} {error}")
        raise LostConnectionError("no node answers: " + "; ".join(problems))

    return dial


def dial_primary(address: Address, *, patience_s: float) -> Dial:
    """Return a dial to the primary that the first answering Sentinel names.

    A server that is not, or not yet, a primary is refused: Sentinels may be behind.
    """
    context = _context(address.tls)

    async def dial() -> AbstractConnection:
        host = await _discover(address, context, patience_s)
        connection = await _connected(_connection(host, address.login, context, db=address.db))
        role = await ask_once(connection, "ROLE")
        if not isinstance(role, list) or role[0] != b"master":
            await connection.disconnect(nowait=True)
            raise LostConnectionError(f"{host.name}:{host.port} is not a primary, or not yet")
        return connection

    return dial


async def ask_once(connection: AbstractConnection, *words: str) -> Any:
    """Send one command on a connection of one's own and return its reply."""
    await connection.send_command(*words, check_health=False)
    return await connection.read_response()


async def _discover(address: Address, context: ssl.SSLContext | None, patience_s: float) -> Host:
    problems: list[str] = []
    for sentinel in address.hosts:
        try:
            async with (
                asyncio.timeout(patience_s),
                _closing(_connection(sentinel, address.sentinel_login, context)) as connection,
            ):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
                reply = await ask_once(
                    connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service
                )
        except (RedisError, OSError) as error:
            problems.append(f"{sentinel.name}:{sentinel.port} {error}")
            continue
        if isinstance(reply, list):
            return Host(reply[0].decode(), int(reply[1]))
        problems.append(f"{sentinel.name}:{sentinel.port} does not know it")
    raise LostConnectionError(
        f"no Sentinel names a primary of {address.service!r}: " + "; ".join(problems)
    )


def _connection(
    host: Host, login: Login, context: ssl.SSLContext | None, *, db: int = 0
) -> Connection:
    options = {"host": host.name, "port": host.port, "db": db, **_login(login), **_PLAIN}
    if context is None:
        return Connection(**options)
    connection = SSLConnection(**options)
    # Its own context would trust the system's authorities beside the one that we were given.
    connection.ssl_context.context = context
    return connection


def _login(login: Login) -> dict[str, str | None]:
    return {"username": login.username, "password": login.password}


def _context(tls: Tls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.create_default_context(cafile=tls.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


async def _connected(connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


async def _serving(connection: AbstractConnection) -> AbstractConnection:
    """Return the connection of a server that is done loading its data."""
    try:
        await ask_once(connection, "PING")
    except ResponseError:
        pass  # it may be busy or full, but it takes calls
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


@asynccontextmanager
async def _closing(connection: Connection) -> AsyncIterator[Connection]:
    try:
        yield connection
    finally:
        await connection.disconnect(nowait=True)
