"""Who is signed in: tokens that wait behind a code, so that no browser ever holds one.

Laws: a code is worth nothing to who only sees the store (it keeps its digest, and the token sealed
under the code itself); a ticket works once; a session ends with its token, when it is left, or when
its person begins one too many elsewhere. A sign-in that is under way is sealed under two codes: the
one that travels, and the one that its browser keeps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.store import keys
from cluster.store.client import Call, Script, Store
from policies.principal import Principal

TICKET_S: Final = 60
ATTEMPT_S: Final = 600  # how long a person may take at the identity provider
SESSIONS_MAX: Final = 10
_CODE: Final = re.compile(r"\A[A-Za-z0-9_-]{43}\Z")
_NONCE: Final = 12
_TICKET: Final = "ticket"
_SESSION: Final = "session"
_ATTEMPT: Final = "attempt"
_PERSON: Final = "person"

# A person's sessions are a zset of names by when they began; KEYS[1] is the prefix of the sessions
# themselves, KEYS[2] the zset. What has ended by itself is left out first.
_ALIVE: Final = """
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if redis.call('EXISTS', KEYS[1] .. name) == 0 then redis.call('ZREM', KEYS[2], name) end
end
"""
# ARGV[1] name, [2] what is sealed, [3] seconds, [4] now in microseconds, [5] how many there may be.
BEGIN: Final = Script(
    f"""{_ALIVE}
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end -- the answer to the first got lost
local over = redis.call('ZCARD', KEYS[2]) + 1 - tonumber(ARGV[5])
if over > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, over - 1)) do
    redis.call('DEL', KEYS[1] .. name)
    redis.call('ZREM', KEYS[2], name)
  end
end
redis.call('SET', KEYS[1] .. ARGV[1], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
if redis.call('TTL', KEYS[2]) < tonumber(ARGV[3]) then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
return math.max(over, 0)
"""
)
ALIVE: Final = Script(f"{_ALIVE} return redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')")
END_ALL: Final = Script(
    f"""{_ALIVE}
local names = redis.call('ZRANGE', KEYS[2], 0, -1)
for _, name in ipairs(names) do redis.call('DEL', KEYS[1] .. name) end
redis.call('DEL', KEYS[2])
return #names
"""
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A session of a person: when it began, and whether it is the one that asks."""

    at: datetime
    is_this: bool


class Sessions:
    """Tickets and sessions of one store; any replica knows those of every other.

    Every method raises DependencyError when the store cannot be reached.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ticket(self, token: str) -> str:
        """Return a code that gives the token back once, within `TICKET_S`."""
        return await self._put(_TICKET, token, TICKET_S)

    async def redeem(self, code: str) -> str | None:
        """Return the token behind a ticket, which is used up; None for what is no ticket."""
        return await self._get("GETDEL", _TICKET, code)

    async def begin(
        self, token: str, principal: Principal, *, seconds: int, now: datetime
    ) -> tuple[str, int]:
        """Return the handle of a new session, which lasts so long, and how many others ended.

        A person has `SESSIONS_MAX` at most; the oldest end.
        """
        code = token_urlsafe(32)
        sealed = _sealed(_SESSION, code, token)
        begun_us = round(now.timestamp() * 1_000_000)
        ended = await self._store.run(
            _call(BEGIN, principal, _name(code), sealed, seconds, begun_us, SESSIONS_MAX)
        )
        assert isinstance(ended, int)
        return code, ended

    async def token(self, handle: str) -> str | None:
        """Return the token of a session; None when it has ended or never was."""
        return await self._get("GET", _SESSION, handle)

    async def end(self, handle: str) -> None:
        """End a session; one that has ended stays so."""
        if is_code(handle):
            await self._store.execute("DEL", keys.console(_SESSION, _name(handle)))

    async def alive(self, principal: Principal, handle: str) -> Sequence[Begun]:
        """Return the sessions of a person, the newest first; `handle` is the one that asks."""
        reply = await self._store.run(_call(ALIVE, principal))
        assert isinstance(reply, list)
        mine = _name(handle).encode()
        return [
            Begun(datetime.fromtimestamp(float(begun_us) / 1_000_000, UTC), name == mine)
            for name, begun_us in reversed(list(zip(reply[::2], reply[1::2], strict=True)))
        ]

    async def end_all(self, principal: Principal) -> int:
        """End every session of a person and return how many there were."""
        ended = await self._store.run(_call(END_ALL, principal))
        assert isinstance(ended, int)
        return ended

    async def attempt(self, secret: str, *, browser: str) -> str:
        """Return a code that gives the secret back once, to the browser that keeps the other."""
        code = token_urlsafe(32)
        await self._store.execute(
            "SET",
            keys.console(_ATTEMPT, _name(code + browser)),
            _sealed(_ATTEMPT, code + browser, secret),
            "EX",
            ATTEMPT_S,
        )
        return code

    async def resume(self, code: str, *, browser: str) -> str | None:
        """Return the secret of an attempt, which is used up; None for another browser's or none.

        Whoever has only one of the two codes uses nothing up.
        """
        if not (is_code(code) and is_code(browser)):
            return None
        return await self._opened("GETDEL", _ATTEMPT, code + browser)

    async def _put(self, part: str, token: str, seconds: int) -> str:
        code = token_urlsafe(32)
        sealed = _sealed(part, code, token)
        await self._store.execute("SET", keys.console(part, _name(code)), sealed, "EX", seconds)
        return code

    async def _get(self, command: str, part: str, code: str) -> str | None:
        return await self._opened(command, part, code) if is_code(code) else None

    async def _opened(self, command: str, part: str, code: str) -> str | None:
        sealed = await self._store.execute(command, keys.console(part, _name(code)))
        if not isinstance(sealed, bytes):
            return None
        try:
            opened = AESGCM(_key(code)).decrypt(sealed[:_NONCE], sealed[_NONCE:], part.encode())
        except (InvalidTag, ValueError):
            return None  # somebody wrote into the store who does not know the code
        return opened.decode()


def is_code(text: str) -> bool:
    """Say whether it has the form of our codes."""
    return _CODE.match(text) is not None


def _call(script: Script, principal: Principal, *args: str | bytes | int) -> Call:
    person = f"{principal.tenant}:{principal.agent}"
    return Call(script, (keys.console(_SESSION, ""), keys.console(_PERSON, person)), args)


def _sealed(part: str, code: str, text: str) -> bytes:
    nonce = token_bytes(_NONCE)
    return nonce + AESGCM(_key(code)).encrypt(nonce, text.encode(), part.encode())


def _name(code: str) -> str:
    return sha256(b"acgs console name\0" + code.encode()).hexdigest()


def _key(code: str) -> bytes:
    return sha256(b"acgs console key\0" + code.encode()).digest()
