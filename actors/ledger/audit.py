"""A whole ledger checked from outside: its root log, and under it every tenant's log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import httpx

from actors.ledger.checkpoint import Checkpoint, VerifierKey
from actors.ledger.errors import TamperedError
from actors.ledger.root import checkpoint_in
from actors.ledger.store import Folder, Source
from actors.ledger.tiles import CHECKPOINT
from actors.ledger.verify import Progress, Verified, verify_log
from cluster.errors import ConfigurationError
from policies.errors import DependencyError

TIMEOUT_S: Final = 30.0
ATTEMPTS: Final = 3
_BEGUN: Final = (CHECKPOINT, "tile")


class HttpSource:
    """A log that a server serves as C2SP tlog-tiles below a URL."""

    def __init__(self, url: str, *, token: str = "", client: httpx.Client | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = client or httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)
        self._headers = headers
        self._url = url.rstrip("/")

    def fetch(self, path: str) -> bytes | None:
        """Return what lies at a path, or None for 404. Raises DependencyError for the rest."""
        url = f"{self._url}/{path}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._client.get(url, headers=self._headers)
            except httpx.HTTPError as error:
                if attempt == ATTEMPTS:
                    raise DependencyError("ledger server", f"{url}: {error!r}") from error
                continue
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            if answer.status_code == httpx.codes.OK:
                return answer.content
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR or attempt == ATTEMPTS:
                raise DependencyError("ledger server", f"{url} answers {answer.status_code}")
        raise AssertionError("the last attempt returns or raises")

    def below(self, path: str) -> Self:
        """Return the log below another path of the same server."""
        other = type(self)(f"{self._url}/{path}".rstrip("/"), client=self._client)
        other._headers = self._headers  # noqa: SLF001  # one of our own kind
        return other


Below = Callable[[str], Source]
"""Gives the log whose files lie below a path of the ledger, such as `t/acme`."""


@dataclass(frozen=True, slots=True)
class Audit:
    """A ledger that is what it says it is: its root log, and each tenant's by name."""

    root: Verified | None
    logs: Mapping[str, Verified]


def is_url(place: str) -> bool:
    """Say whether a place is on a server and not a folder."""
    return place.startswith(("http://", "https://"))


def open_place(place: str, *, token: str = "") -> Below:
    """Return how to reach the logs of a folder or of a server."""
    if is_url(place):
        source = HttpSource(place, token=token)
        return lambda path: source.below(path) if path else source
    folder = Path(place)
    if not folder.is_dir():
        raise ConfigurationError(f"{place} is neither a folder nor an http(s) address")
    return lambda path: Folder(folder / path)


def audit(
    below: Below,
    key: VerifierKey,
    *,
    tenants: Sequence[str] = (),
    remembered: Sequence[Checkpoint] = (),
    progress: Callable[[str], Progress] | None = None,
) -> Audit:
    """Verify the log below a place, and, if it is a root log, every log that it covers.

    `key` is the verifier key of that log; the logs below the root are signed by the same key under
    their own names. `tenants` are those to check besides the ones that the root covers;
    `remembered` are checkpoints kept elsewhere, of any of these logs. Raises TamperedError for
    the first thing that is wrong.
    """
    covered: dict[str, list[Checkpoint]] = {}

    def visit(_index: int, entry: bytes, _leaf: bytes) -> None:
        if (checkpoint := _tenant_checkpoint(entry, key.name)) is not None:
            covered.setdefault(checkpoint.origin, []).append(checkpoint)

    root = None
    if below("").fetch(CHECKPOINT) is not None or not tenants:
        root = verify_log(
            below(""),
            [key],
            origin=key.name,
            remembered=_about(remembered, key.name),
            progress=progress and progress(key.name),
            visit=visit,
        )
    found = {origin.removeprefix(f"{key.name}/t/") for origin in covered} | set(tenants)
    publics = [each.public for each in root.keys] if root else [key.public]
    logs: dict[str, Verified] = {}
    for tenant in sorted(found):
        origin = f"{key.name}/t/{tenant}"
        logs[tenant] = verify_log(
            below(f"t/{tenant}"),
            [VerifierKey(origin, public) for public in publics],
            origin=origin,
            remembered=[*covered.get(origin, ()), *_about(remembered, origin)],
            progress=progress and progress(origin),
        )
    return Audit(root, logs)


def tenants_in(folder: Path) -> list[str]:
    """Name the tenants' logs in a folder.

    One that nothing was ever published in is none yet; if anything was, the root log knows of it.
    """
    logs = folder / "t"
    found = logs.iterdir() if logs.is_dir() else ()
    return sorted(path.name for path in found if any((path / name).exists() for name in _BEGUN))


def _about(remembered: Sequence[Checkpoint], origin: str) -> list[Checkpoint]:
    return [each for each in remembered if each.origin == origin]


def _tenant_checkpoint(entry: bytes, root: str) -> Checkpoint | None:
    try:
        checkpoint = checkpoint_in(entry)
    except (TamperedError, UnicodeDecodeError):
        return None  # not a root log's entry
    mine = checkpoint is not None and checkpoint.origin.startswith(f"{root}/t/")
    return checkpoint if mine else None
