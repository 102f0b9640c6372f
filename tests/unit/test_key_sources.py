"""Keys in a file are read again when they change; a damaged change does not lock everybody out."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from token_builders import a_jwks, a_signer

from cluster.identity.jwks import KeySet, parse_jwks
from cluster.identity.sources import FILE_CHECK_S, GRACE_S, FileKeys, FixedKeys
from policies.errors import DependencyError

from fakes import FakeClock

OLD, NEW = a_signer(kid="old"), a_signer(kid="new", number=1)


class Shelf:
    """A file of keys and a source that reads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"
        self.clock = FakeClock()
        self.source = FileKeys(self.path, clock=self.clock)
        self._version = 0

    def put(self, content: bytes) -> None:
        draft = self.path.with_suffix(".new")
        draft.write_bytes(content)
        self._version += 1
        os.utime(draft, ns=(0, self._version * 1_000_000_000))
        draft.replace(self.path)

    def keys(self) -> KeySet:
        return self.source.current() or asyncio.run(self.source.keys())

    def kids(self) -> list[str | None]:
        return [key.kid for key in self.keys().keys]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put(a_jwks(OLD.jwk()))
    return shelf


def test_fixed_keys_never_change() -> None:
    keys = parse_jwks(a_jwks(OLD.jwk()))
    source = FixedKeys(keys)
    assert source.current() is keys
    assert asyncio.run(source.keys()) is keys
    assert asyncio.run(source.newer(keys)) is keys
    asyncio.run(source.close())


def test_a_file_is_looked_at_now_and_then(shelf: Shelf) -> None:
    assert shelf.source.current() is None
    keys = shelf.keys()
    assert shelf.source.current() is keys
    shelf.clock.forward(FILE_CHECK_S)
    assert shelf.source.current() is None
    assert shelf.keys() is keys, "a file that did not change is the same set"


def test_a_changed_file_is_read_again(shelf: Shelf) -> None:
    assert shelf.kids() == ["old"]
    shelf.put(a_jwks(NEW.jwk()))
    assert shelf.kids() == ["old"]
    shelf.clock.forward(FILE_CHECK_S)
    assert shelf.kids() == ["new"]


def test_a_missed_key_is_looked_for_at_once(shelf: Shelf) -> None:
    seen = shelf.keys()
    shelf.put(a_jwks(OLD.jwk(), NEW.jwk()))
    newer = asyncio.run(shelf.source.newer(seen))
    assert [key.kid for key in newer.keys] == ["old", "new"]


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"keys":[', a_jwks(), a_jwks(OLD.private_jwk()), b" " * 1_000_000, None],
    ids=["empty", "half", "none", "private", "huge", "removed"],
)
def test_a_damaged_change_keeps_the_old_keys_for_a_while(
    shelf: Shelf, damage: bytes | None
) -> None:
    assert shelf.kids() == ["old"]
    if damage is None:
        shelf.path.unlink()
    else:
        shelf.put(damage)
    shelf.clock.forward(GRACE_S - 1)
    assert shelf.kids() == ["old"]
    shelf.clock.forward(1)
    assert shelf.source.current() is None
    with pytest.raises(DependencyError, match="key file cannot be used"):
        shelf.keys()
    shelf.put(a_jwks(NEW.jwk()))
    assert shelf.kids() == ["new"]


def test_a_repaired_file_starts_its_time_anew(shelf: Shelf) -> None:
    shelf.keys()
    shelf.put(b"junk")
    shelf.clock.forward(GRACE_S - 1)
    shelf.keys()
    shelf.put(a_jwks(OLD.jwk()))
    shelf.clock.forward(1)
    assert shelf.kids() == ["old"]


def _open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_no_file_is_a_failure_that_does_not_hang_or_leak(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    source = FileKeys(path, clock=FakeClock())
    before = _open_files()
    for _ in range(20):
        with pytest.raises(DependencyError) as caught:
            asyncio.run(source.keys())
    assert caught.value.status == 503
    assert _open_files() <= before
    asyncio.run(source.close())
