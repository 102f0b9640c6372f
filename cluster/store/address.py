"""Where the store is: what a REDIS_URL may say.

| URL | means |
|---|---|
| `redis://[user:password@]host[:6379][/db]` | one server |
| `rediss://…` | the same over TLS |
| `unix://[user:password@]/path/of.sock[?db=1]` | one server, by its socket |
| `redis+sentinel://[user:password@]host[:26379],host…/service[/db]` | the service's primary |
| `redis+cluster://[user:password@]host[:6379],host…` | a Redis Cluster; any nodes of it |
| `rediss+sentinel://…`, `rediss+cluster://…` | the same over TLS, Sentinels included |

Queries: `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` are PEM files (TLS only; without the first
the system's authorities are trusted; the server's name is always checked), `sentinel_username` and
`sentinel_password` open the Sentinels, `db` the database. Anything else is refused, not ignored.
User and password are percent-encoded. A database in the URL wins over REDIS_DB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cluster.errors import ConfigurationError

_HOST: Final = re.compile(r"\A(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/@\s]+))(?::([0-9]{1,5}))?\Z")
_TLS_FILES: Final[tuple[str, ...]] = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class Kind(Enum):
    """What answers at an address."""

    SERVER = "server"
    SOCKET = "socket"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Host:
    """One host and its port."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password; both may be absent. Never shown."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Whom to trust (None: the system's authorities) and who we are (None: nobody)."""

    ca: str | None
    certificate: str | None
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A parsed REDIS_URL. `hosts` are servers, Sentinels or nodes; `path` is a socket's."""

    kind: Kind
    hosts: tuple[Host, ...] = ()
    path: Path | None = None
    service: str = ""
    db: int = 0
    login: Login = Login()
    sentinel_login: Login = Login()
    tls: Tls | None = None


def parse_address(url: str, *, db: int) -> Address:
    """Return the address that `url` names; raises ConfigurationError, without its secrets."""
    try:
        parts = urlsplit(url)
        strict = bool(parts.query)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=strict))
    except ValueError:
        raise _refused("cannot be read as a URL") from None
    scheme, _, mode = parts.scheme.partition("+")
    match scheme, mode:
        case (("redis" | "rediss"), ""):
            address = _server(parts, query, db)
        case "unix", "":
            address = _socket(parts, query, db)
        case (("redis" | "rediss"), "sentinel"):
            address = _sentinel(parts, query, db)
        case (("redis" | "rediss"), "cluster"):
            address = _cluster(parts, query, db)
        case _:
            raise _refused(
                f"starts with {parts.scheme!r}; use redis, rediss, unix, redis+sentinel, "
                "rediss+sentinel, redis+cluster or rediss+cluster"
            )
    if query:
        raise _refused(f"has the query {min(query)!r}, which means nothing here")
    if parts.fragment:
        raise _refused("has a '#': percent-encode it in a password as %23")
    return address


def _server(parts: SplitResult, query: dict[str, str], db: int) -> Address:
    hosts, login = _authority(parts, port=6379)
    if len(hosts) != 1:
        raise _refused("names several hosts; use redis+sentinel or redis+cluster for these")
    return Address(
        kind=Kind.SERVER,
        hosts=hosts,
        db=_database(parts.path.strip("/") or query.pop("db", ""), db),
        login=login,
        tls=_tls(parts, query),
    )


def _socket(parts: SplitResult, query: dict[str, str], db: int) -> Address:
    userinfo, _, host = parts.netloc.rpartition("@")
    if host or parts.path in {"", "/"}:
        raise _refused("needs the path of a socket, as in unix:///run/redis.sock")
    return Address(
        kind=Kind.SOCKET,
        path=Path(unquote(parts.path)),
        db=_database(query.pop("db", ""), db),
        login=_login(userinfo),
    )


def _sentinel(parts: SplitResult, query: dict[str, str], db: int) -> Address:
    hosts, login = _authority(parts, port=26379)
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise _refused("names no service, as in redis+sentinel://host:26379/mymaster/0")
    return Address(
        kind=Kind.SENTINEL,
        hosts=hosts,
        service=unquote(service),
        db=_database(database or query.pop("db", ""), db),
        login=login,
        sentinel_login=Login(
            query.pop("sentinel_username", None), query.pop("sentinel_password", None)
        ),
        tls=_tls(parts, query),
    )


def _cluster(parts: SplitResult, query: dict[str, str], db: int) -> Address:
    hosts, login = _authority(parts, port=6379)
    if _database(parts.path.strip("/") or query.pop("db", ""), db) != 0:
        raise _refused("asks for a database, but a cluster has only 0; unset REDIS_DB")
    return Address(kind=Kind.CLUSTER, hosts=hosts, login=login, tls=_tls(parts, query))


def _authority(parts: SplitResult, *, port: int) -> tuple[tuple[Host, ...], Login]:
    userinfo, _, hosts = parts.netloc.rpartition("@")
    return tuple(_host(text, port) for text in hosts.split(",")), _login(userinfo)


def _host(text: str, port: int) -> Host:
    found = _HOST.match(text)
    if found is None:
        raise _refused("has a host that cannot be read; write host:port, or [::1]:port")
    number = int(found[3] or port)
    if not 0 < number < 65_536:
        raise _refused(f"has the port {number}, which is none")
    return Host(found[1] or found[2], number)


def _login(userinfo: str) -> Login:
    if not userinfo:
        return Login()
    username, colon, password = userinfo.partition(":")
    if not colon:
        raise _refused("has a user without a password; write user:password@, or :password@")
    return Login(unquote(username) or None, unquote(password) or None)


def _database(text: str, default: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise _refused("has a database that is no number")
    return int(text)


def _tls(parts: SplitResult, query: dict[str, str]) -> Tls | None:
    files: dict[str, str] = {name: query.pop(name) for name in _TLS_FILES if name in query}
    if not parts.scheme.startswith("rediss"):
        if files:
            raise _refused(f"has {min(files)}, but only rediss speaks TLS")
        return None
    _must_exist(files)
    if ("ssl_certfile" in files) != ("ssl_keyfile" in files):
        raise _refused("has one of ssl_certfile and ssl_keyfile; a client certificate needs both")
    return Tls(
        ca=files.get("ssl_ca_certs"),
        certificate=files.get("ssl_certfile"),
        key=files.get("ssl_keyfile"),
    )


def _must_exist(files: Mapping[str, str]) -> None:
    for name, path in files.items():
        if not Path(path).is_file():
            raise _refused(f"has {name}={path}, which is no file")


def _refused(what: str) -> ConfigurationError:
    return ConfigurationError(f"REDIS_URL {what}")
