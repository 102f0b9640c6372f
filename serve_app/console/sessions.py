"""Who is signed in: tokens that wait behind a code, so that no browser ever holds one.

Laws: a code is worth nothing to who only sees the store (it keeps its digest, and the token sealed
under the code itself); a ticket works once; a session ends with its token, or when it is left.
"""

from __future__ import annotations

import re
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.store import keys
from cluster.store.client import Store

TICKET_S: Final = 60
_CODE: Final = re.compile(r"\A[A-Za-z0-9_-]{43}\Z")
_NONCE: Final = 12
_TICKET: Final = "ticket"
_SESSION: Final = "session"


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

    async def begin(self, token: str, seconds: int) -> str:
        """Return the handle of a new session, which lasts so long."""
        return await self._put(_SESSION, token, seconds)

    async def token(self, handle: str) -> str | None:
        """Return the token of a session; None when it has ended or never was."""
        return await self._get("GET", _SESSION, handle)

    async def end(self, handle: str) -> None:
        """End a session; one that has ended stays so."""
        if _CODE.match(handle):
            await self._store.execute("DEL", keys.console(_SESSION, _name(handle)))

    async def _put(self, part: str, token: str, seconds: int) -> str:
        code, nonce = token_urlsafe(32), token_bytes(_NONCE)
        sealed = nonce + AESGCM(_key(code)).encrypt(nonce, token.encode(), part.encode())
        await self._store.execute("SET", keys.console(part, _name(code)), sealed, "EX", seconds)
        return code

    async def _get(self, command: str, part: str, code: str) -> str | None:
        if not _CODE.match(code):
            return None
        sealed = await self._store.execute(command, keys.console(part, _name(code)))
        if not isinstance(sealed, bytes):
            return None
        try:
            opened = AESGCM(_key(code)).decrypt(sealed[:_NONCE], sealed[_NONCE:], part.encode())
        except (InvalidTag, ValueError):
            return None  # somebody wrote into the store who does not know the code
        return opened.decode()


def _name(code: str) -> str:
    return sha256(b"acgs console name\0" + code.encode()).hexdigest()


def _key(code: str) -> bytes:
    return sha256(b"acgs console key\0" + code.encode()).digest()
