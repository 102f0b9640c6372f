"""The identity provider with which people sign in: OpenID Connect, authorization code with PKCE.

Laws of this file:
1. Every call has a deadline and a bounded answer, passes the circuit `oidc`, follows no redirect.
2. What a stranger can cause (a code that is none) is no failure of the provider: no circuit opens.
3. A sign-in counts only by an ID token that the provider signed for this client and this sign-in.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx
import structlog

from cluster.breaker.guard import guard as through_circuit
from cluster.clock import Clock
from cluster.errors import CircuitOpenError
from cluster.identity.discovery import WELL_KNOWN, Metadata, ProviderError, read_metadata
from cluster.identity.tokens import ClaimRules, read_header, read_sign_in
from cluster.identity.url_keys import Guard, UrlKeys
from cluster.identity.verifier import find_key, signed_payload
from cluster.settings import Settings
from policies.errors import DependencyError, RefusalError
from policies.strict_json import read_object

T = TypeVar("T")

ANSWER_BYTES_MAX: Final = 64 * 1024
DEADLINE_S: Final = 5.0
METADATA_S: Final = 300.0
CIRCUIT: Final = "oidc"
_REFUSED: Final = {400, 401, 403}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """This bus as the provider knows it; without a secret it is a public client."""

    issuer: str
    client_id: str
    secret: str | None
    scopes: str
    redirect_uri: str
    leeway_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one sign-in is known by; `state` is public, the rest stays with us until it ends."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier before it sends a code (RFC 7636, S256)."""
        return _base64url(sha256(self.verifier.encode()).digest())


class Grant(NamedTuple):
    """What the provider gave for a code: a token, and who signed in."""

    access_token: str
    subject: str


class _Answer(NamedTuple):
    status: int
    body: bytes


class Provider:
    """One identity provider. Use it in one event loop, and close it there.

    Every method raises ProviderError (503) when the provider is down (`oidc.provider_down`) or
    says what cannot be right (`oidc.provider_unusable`, `oidc.issuer_mismatch`).
    """

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        guard: Guard = through_circuit,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._client = client
        self._clock = clock
        self._guard = guard
        self._deadline_s = deadline_s
        self._http = httpx.AsyncClient(timeout=deadline_s, follow_redirects=False)
        self._metadata: tuple[Metadata, float] | None = None
        self._flight: asyncio.Task[Metadata] | None = None
        self._keys: dict[str, UrlKeys] = {}

    async def address(self, attempt: Attempt) -> str:
        """Return where a browser must go to sign in there."""
        endpoint = (await self._known()).authorization_endpoint
        asked = urlencode(
            {
                "response_type": "code",
                "client_id": self._client.client_id,
                "redirect_uri": self._client.redirect_uri,
                "scope": self._client.scopes,
                "state": attempt.state,
                "nonce": attempt.nonce,
                "code_challenge": attempt.challenge,
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{asked}"

    async def require_own(self, issuer: str | None) -> None:
        """Refuse (403) what comes back from another provider than ours (RFC 9207)."""
        missing = issuer is None and (await self._known()).names_itself
        if missing or issuer not in (None, self._client.issuer):
            raise RefusalError(
                "oidc.issuer_mismatch",
                "this answer does not come from the provider that you were sent to; sign in again",
                403,
            )

    async def redeem(self, code: str, attempt: Attempt) -> Grant:
        """Return what the provider gives for a code, once.

        Raises RefusalError (403): `oidc.code_refused`, `oidc.id_token_refused` with what is wrong
        with it, `oidc.nonce_mismatch`.
        """
        metadata = await self._known()
        answer = await self._through(lambda: self._post(metadata, self._form(code, attempt)))
        tokens = _granted(answer)
        subject = await self._subject(tokens, metadata, nonce=attempt.nonce)
        return Grant(tokens["access_token"], subject)

    async def close(self) -> None:
        """End what is under way, and let go of the connections."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])
        for keys in self._keys.values():
            await keys.close()
        await self._http.aclose()

    async def _known(self) -> Metadata:
        now_s = self._clock.monotonic_s()
        if self._metadata is not None and now_s - self._metadata[1] < METADATA_S:
            return self._metadata[0]
        if self._flight is None:  # who comes together waits, and is disappointed, together
            self._flight = asyncio.create_task(self._refresh(now_s), name="oidc discovery")
        # Shielded: one caller who goes away must not end it for the others.
        return await asyncio.shield(self._flight)

    async def _refresh(self, now_s: float) -> Metadata:
        try:
            metadata = await self._through(self._discover)
        finally:
            self._flight = None
        self._metadata = metadata, now_s
        return metadata

    async def _discover(self) -> Metadata:
        url = self._client.issuer.rstrip("/") + WELL_KNOWN
        answer = await self._ask("GET", url)
        if answer.status != httpx.codes.OK:
            raise ProviderError("oidc.provider_down", f"it answered {answer.status}")
        return read_metadata(answer.body, issuer=self._client.issuer)

    def _form(self, code: str, attempt: Attempt) -> dict[str, str]:
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_uri,
            "code_verifier": attempt.verifier,
        }

    async def _post(self, metadata: Metadata, form: dict[str, str]) -> _Answer:
        client, headers = self._client, {"Content-Type": "application/x-www-form-urlencoded"}
        if client.secret is not None and not metadata.posts_secret:
            # Both are form-encoded before they are joined (RFC 6749, 2.3.1).
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form = {**form, "client_id": client.client_id}
            if client.secret is not None:
                form["client_secret"] = client.secret
        answer = await self._ask(
            "POST", metadata.token_endpoint, headers=headers, content=urlencode(form).encode()
        )
        if answer.status != httpx.codes.OK and answer.status not in _REFUSED:
            raise ProviderError("oidc.provider_down", f"it answered {answer.status} to a code")
        return answer

    async def _subject(self, tokens: Mapping[str, str], metadata: Metadata, *, nonce: str) -> str:
        """Return who signed in, by the ID token; it must be the provider's word about this."""
        client, token = self._client, tokens["id_token"]
        rules = ClaimRules(
            issuer=client.issuer, audience=client.client_id, leeway_s=client.leeway_s
        )
        try:
            header = read_header(token)
            key, _ = await find_key(await self._source(metadata.jwks_uri), header)
            said = read_sign_in(
                signed_payload(token, key),
                rules,
                nonce=nonce,
                now_s=self._clock.now().timestamp(),
            )
        except RefusalError as error:
            is_other = error.code == "auth.wrong_nonce"
            code = "oidc.nonce_mismatch" if is_other else "oidc.id_token_refused"
            raise RefusalError(code, f"{error.detail} ({error.code})", 403) from error
        except DependencyError as error:
            raise ProviderError("oidc.provider_down", f"its keys: {error.detail}") from error
        hashed = access_hash(tokens["access_token"], header.algorithm)
        if said.access_hash not in (None, hashed):
            raise RefusalError(
                "oidc.id_token_refused", "the two tokens do not belong together", 403
            )
        return said.subject

    async def _source(self, url: str) -> UrlKeys:
        if url not in self._keys:
            self._keys[url] = UrlKeys(url, clock=self._clock, guard=self._under_own_name)
            if len(self._keys) > 2:  # the one before may still be in somebody's hands
                await self._keys.pop(next(iter(self._keys))).close()
        return self._keys[url]

    def _under_own_name(self, _: str, call: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        return self._guard(CIRCUIT, call)

    async def _through(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._guard(CIRCUIT, call)
        except CircuitOpenError as error:
            detail = f"it failed too often; try again in {max(1, round(error.retry_in_s))} s"
            raise ProviderError("oidc.provider_down", detail) from error
        except ProviderError as error:
            log.warning("oidc.failed", code=error.code, error=repr(error.__cause__ or error))
            raise

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> _Answer:
        # Compressed, a small answer could unfold into a huge one.
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        try:
            # Inside the guard, or a provider that hangs would never open its circuit.
            async with asyncio.timeout(self._deadline_s):
                async with self._http.stream(method, url, headers=sent, content=content) as answer:
                    return _Answer(answer.status_code, await _bounded(answer))
        except TimeoutError as error:
            detail = f"it did not answer within {self._deadline_s:g} s"
            raise ProviderError("oidc.provider_down", detail) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # People see this; the text of an error may carry an address.
            detail = f"it was not reached ({type(error).__name__})"
            raise ProviderError("oidc.provider_down", detail) from error


def open_provider(settings: Settings, *, clock: Clock) -> Provider | None:
    """Return the provider that the settings name, None for none; nothing is fetched yet."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    secret = settings.oidc_client_secret
    client = Client(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret=None if secret is None else secret.get_secret_value(),
        scopes=settings.oidc_scopes,
        redirect_uri=f"{settings.public_url}/console/oidc/callback",
        leeway_s=settings.jwt_leeway_s,
    )
    return Provider(client, clock=clock)


def access_hash(token: str, algorithm: str) -> str:
    """Return the `at_hash` of an access token in an ID token that is signed like this."""
    digest = sha512 if algorithm == "EdDSA" else sha256
    hashed = digest(token.encode()).digest()
    return _base64url(hashed[: len(hashed) // 2])


def _granted(answer: _Answer) -> dict[str, str]:
    """Return the tokens of an answer to a code. Raises as `Provider.redeem`."""
    try:
        said = read_object(answer.body)
    except ValueError:
        raise _unusable("its answer to a code is not one sound JSON object") from None
    if answer.status != httpx.codes.OK:
        raise _refusal(said)
    if str(said.get("token_type", "")).lower() != "bearer":
        raise _unusable("it gave no bearer token")
    tokens = {name: said.get(name) for name in ("access_token", "id_token")}
    sound = {name: value for name, value in tokens.items() if isinstance(value, str) and value}
    if len(sound) != len(tokens):
        raise _unusable(f"it gave no {' and no '.join(sorted(tokens.keys() - sound.keys()))}")
    return sound


def _refusal(said: Mapping[str, Any]) -> RefusalError | ProviderError:
    error = said.get("error")
    if error == "invalid_grant":
        detail = "the provider does not take this code: it was used, is too old, or is none"
        return RefusalError("oidc.code_refused", f"{detail}; sign in again", 403)
    log.error("oidc.client_refused", error=str(error)[:100])
    return ProviderError("oidc.client_refused", "it does not accept this bus as its client")


def _unusable(detail: str) -> ProviderError:
    return ProviderError("oidc.provider_unusable", detail)


async def _bounded(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _unusable("it answered compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise _unusable(f"it answered more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
