"""The secrets of the bus itself: what signs checkpoints, and what guards entries and evidence.

A laptop (`ACGS_ENV=dev`) makes its own under `ACGS_DATA_DIR/keys`; everywhere else they come from
the environment. A secret that is set always wins over a file.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from cluster.errors import ConfigurationError
from cluster.settings import Environment, Settings

KEY_BYTES: Final = 32
LEDGER_SEEDS_MAX: Final = 64
HOW: Final = "make one with: openssl rand -hex 32"


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The keys of one installation; it never shows them.

    `ledger_seeds` are Ed25519 seeds, the newest last: the last one signs, all of them verify.
    """

    ledger_seeds: tuple[bytes, ...]
    wal_key: bytes
    evidence_key: bytes

    def __repr__(self) -> str:
        return f"Keyring({len(self.ledger_seeds)} ledger seeds, wal key, evidence key)"


def load_keyring(settings: Settings) -> Keyring:
    """Return the keys, making a laptop's at first use; two that race get the same.

    Raises ConfigurationError, naming the variable or the file, when a key is missing or unsound.
    """
    folder = settings.data_dir / "keys"
    keyring = Keyring(
        ledger_seeds=_ledger_seeds(settings, folder),
        wal_key=_key(settings, settings.wal_key, name="ACGS_WAL_KEY", file=folder / "wal.key"),
        evidence_key=_key(
            settings,
            settings.evidence_key,
            name="ACGS_EVIDENCE_KEY",
            file=folder / "evidence.key",
        ),
    )
    keys = (*keyring.ledger_seeds, keyring.wal_key, keyring.evidence_key)
    if len(set(keys)) != len(keys):
        raise ConfigurationError(
            "two of ACGS_LEDGER_KEY, ACGS_WAL_KEY and ACGS_EVIDENCE_KEY are the same key; "
            f"each needs its own ({HOW})"
        )
    return keyring


def rotate_ledger_key(settings: Settings) -> int:
    """Add a newer ledger seed on a laptop and return its number; the older ones still verify.

    Raises ConfigurationError where the environment holds the seeds.
    """
    if settings.env is not Environment.DEV or settings.ledger_key is not None:
        raise ConfigurationError(
            f"the ledger's seeds stand in ACGS_LEDGER_KEY: append a comma and a new one ({HOW}), "
            "keep the old ones before it, and restart"
        )
    folder = settings.data_dir / "keys"
    _ledger_seeds(settings, folder)  # there is a first one to rotate away from, and all are sound
    newest = int(_seed_files(folder)[-1].stem.removeprefix("ledger-"))
    for number in range(newest + 1, LEDGER_SEEDS_MAX + 1):
        if make_secret(_seed_file(folder, number), _fresh_hex):
            return number
    raise ConfigurationError(f"{folder} already holds {LEDGER_SEEDS_MAX} ledger seeds")


def read_or_make_secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what the file holds, made at first use. Of several that race, one makes it."""
    make_secret(path, make)
    return read_secret(path)


def make_secret(path: Path, make: Callable[[], bytes]) -> bool:
    """Write a new secret for its owner only, whole or not at all; False when one is there."""
    try:
        if path.exists():
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(8)}"
        try:
            _write_durably(draft, make())
            # A link, unlike a rename, fails when another process was first.
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise ConfigurationError(f"the key {path} cannot be made: {error.strerror}") from error
    return True


def read_secret(path: Path) -> bytes:
    """Return the file's bytes. Raises ConfigurationError unless only its owner may read it."""
    try:
        with open(path, "rb", opener=_without_following) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigurationError(
                    f"others may read or change {path} (mode {mode:04o}): replace it if they did, "
                    f"else run: chmod 600 {path}"
                )
            return file.read(16_384)
    except OSError as error:
        raise ConfigurationError(f"the key {path} cannot be read: {error.strerror}") from error


def _ledger_seeds(settings: Settings, folder: Path) -> tuple[bytes, ...]:
    if settings.ledger_key is None:
        _require_laptop(settings, "ACGS_LEDGER_KEY")
        files = _seed_files(folder) or [_seed_file(folder, 1)]
        return tuple(
            _parse(read_or_make_secret(file, _fresh_hex).decode("ascii", "replace"), str(file))
            for file in files
        )
    parts = settings.ledger_key.get_secret_value().split(",")
    if len(parts) > LEDGER_SEEDS_MAX:
        raise ConfigurationError(f"ACGS_LEDGER_KEY holds more than {LEDGER_SEEDS_MAX} seeds")
    return tuple(_parse(part, "ACGS_LEDGER_KEY") for part in parts)


def _key(settings: Settings, secret: SecretStr | None, *, name: str, file: Path) -> bytes:
    if secret is not None:
        return _parse(secret.get_secret_value(), name)
    _require_laptop(settings, name)
    return _parse(read_or_make_secret(file, _fresh_hex).decode("ascii", "replace"), str(file))


def _require_laptop(settings: Settings, name: str) -> None:
    if settings.env is not Environment.DEV:
        raise ConfigurationError(f"{name} is not set; {HOW}")


def _parse(text: str, source: str) -> bytes:
    text = text.strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    # fromhex skips spaces between bytes; a key with spaces was pasted wrongly.
    if len(key) != KEY_BYTES or len(text) != 2 * KEY_BYTES:
        raise ConfigurationError(
            f"{source} must hold {2 * KEY_BYTES} hexadecimal digits ({KEY_BYTES} bytes) for each "
            f"key; {HOW}"
        )
    return key


def _fresh_hex() -> bytes:
    return secrets.token_hex(KEY_BYTES).encode() + b"\n"


def _seed_file(folder: Path, number: int) -> Path:
    return folder / f"ledger-{number:04d}.seed"


def _seed_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("ledger-[0-9][0-9][0-9][0-9].seed"))


def _without_following(path: str, flags: int) -> int:
    # Nor waiting: a link or a pipe is no key of ours.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
