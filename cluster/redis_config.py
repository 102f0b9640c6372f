"""Where Redis is, as the specification asks for it: URLs from the environment.

The application itself reads `Settings` and opens `cluster.store`; this is for tools and code that
know these names. A URL may hold a password: show `redacted(url)`, never the URL.
"""

from __future__ import annotations

import os
import re
from typing import Final, TypedDict
from urllib.parse import SplitResult, parse_qsl, urlsplit

from cluster.constants import DEFAULT_REDIS_DB, DEFAULT_REDIS_URL
from cluster.errors import ConfigurationError

REDIS_URL: str  # of the environment as it is when it is imported, without a database of ours
REDIS_URL_WITH_DB: str  # the same, with REDIS_DB

_VARIABLE: Final = "REDIS_URL"
_MODES: Final = ("", "+sentinel", "+cluster")
_SCHEMES: Final = (
    *(f"redis{mode}" for mode in _MODES),
    *(f"rediss{mode}" for mode in _MODES),
    "unix",
)
_HOST: Final = re.compile(r"(?:[\w.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MAX_CONNECTIONS: Final = 10
_SOCKET_TIMEOUT_S: Final = 5.0


class ConnectionParams(TypedDict):
    """Keywords for `redis.asyncio.from_url`; the url may hold a password."""

    url: str
    max_connections: int
    socket_timeout: float
    socket_connect_timeout: float
    retry_on_timeout: bool


class RedisConfig:
    """Reads the environment each time it is asked. Raises ConfigurationError, without secrets."""

    @staticmethod
    def get_url(db: int = 0, env_var: str = _VARIABLE) -> str:
        """Return the URL that `env_var` names, or the default, with its database.

        A database in the URL wins. Else it is `db` if that is above 0, else, for REDIS_URL, what
        REDIS_DB says. Nothing is appended for 0.
        """
        if db < 0:
            raise ConfigurationError(f"the Redis database is {db}; it must be 0 or more")
        if not db and env_var == _VARIABLE:
            db = int(_number("REDIS_DB", DEFAULT_REDIS_DB, whole=True))
        return _with_db(_base_url(env_var), db, env_var)

    @classmethod
    def get_connection_params(cls, db: int = 0) -> ConnectionParams:
        """Return what a client needs to connect, from REDIS_* in the environment."""
        timeout_s = _number("REDIS_SOCKET_TIMEOUT", _SOCKET_TIMEOUT_S)
        return {
            "url": cls.get_url(db),
            "max_connections": int(_number("REDIS_MAX_CONNECTIONS", _MAX_CONNECTIONS, whole=True)),
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "retry_on_timeout": True,
        }


def get_redis_url(db: int = 0) -> str:
    """Return `RedisConfig.get_url(db)`."""
    return RedisConfig.get_url(db)


def redacted(url: str) -> str:
    """Return the URL as a log may show it: scheme, hosts and path; no user, password or query."""
    scheme, mark, rest = url.partition("://")
    # What is left of the last @ may be a password that somebody forgot to encode.
    credentials, _, place = rest.rpartition("@")
    place, question, _ = place.partition("?")
    hosts = place.partition("/")[0].split(",")
    if not mark or "#" in place or not all(_HOST.fullmatch(host) for host in hosts):
        return "***"
    hidden = "***@" if credentials else ""
    return f"{scheme}://{hidden}{place}{'?***' if question else ''}"


def __getattr__(name: str) -> str:
    if name == "REDIS_URL":
        return _with_db(_base_url(_VARIABLE), 0, _VARIABLE)
    if name == "REDIS_URL_WITH_DB":
        return get_redis_url()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _base_url(env_var: str) -> str:
    return os.environ.get(env_var, "").strip() or DEFAULT_REDIS_URL


def _with_db(url: str, db: int, env_var: str) -> str:
    parts = _parts(url, env_var)
    if parts.scheme == "unix":
        return url if _query_db(parts) or not db else _with_query_db(url, parts, db)
    segments = [part for part in parts.path.split("/") if part]
    is_sentinel = parts.scheme.endswith("+sentinel")
    if is_sentinel and not segments:
        raise _refused(env_var, "names no service, as in redis+sentinel://host:26379/mymaster")
    named = segments[1:] if is_sentinel else segments
    if len(named) > 1 or (named and not (named[0].isascii() and named[0].isdigit())):
        raise _refused(env_var, "has a path that is no database; it should end in a number")
    if parts.scheme.endswith("+cluster") and db:
        raise _refused(env_var, f"names a cluster, which has no database {db}, only 0")
    if named or _query_db(parts) or not db:
        return url
    return parts._replace(path=f"{parts.path.rstrip('/')}/{db}").geturl()


def _parts(url: str, env_var: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # its text would repeat the URL
        raise _refused(env_var, "cannot be read as a URL") from None
    if parts.scheme not in _SCHEMES or "://" not in url:
        raise _refused(env_var, f"must begin with one of {', '.join(_SCHEMES)}, and ://")
    cut = "@" not in parts.netloc and "@" in f"{parts.path}?{parts.query}"
    if parts.fragment or "#" in url or (cut and parts.scheme != "unix"):
        raise _refused(
            env_var, "has a # or a stray @; percent-encode what its password holds, / as %2F too"
        )
    return parts


def _query_db(parts: SplitResult) -> bool:
    return any(key == "db" and value for key, value in parse_qsl(parts.query))


def _with_query_db(url: str, parts: SplitResult, db: int) -> str:
    return f"{url.rstrip('?&')}{'&' if parts.query else '?'}db={db}"


def _number(variable: str, default: float, *, whole: bool = False) -> float:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    try:
        number = float(int(text) if whole else float(text))
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6 or (number == 0 and variable != "REDIS_DB"):
        raise ConfigurationError(f"{variable} must be a positive number, not {text[:20]!r}")
    return number


def _refused(env_var: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{env_var} {what}")
