"""Reading one section of the channels file: every fault is kept, so that all are told at once."""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from cluster.settings import PLACEHOLDERS

SECRET_BYTES_MAX: Final = 4096
TEXT: Final = re.compile(r"\A[^\x00-\x1f\x7f]{1,1024}\Z")
LIST_MAX: Final = 256


class Faults:
    """What is wrong so far; `strict` says that this is no laptop, and `env` where secrets are."""

    def __init__(self, *, strict: bool, env: Mapping[str, str]) -> None:
        self.found: list[str] = []
        self.strict = strict
        self.env = env

    def add(self, where: str, what: str) -> None:
        """Keep a fault."""
        self.found.append(f"{where} {what}")


class Section:
    """One mapping of the file. What is wrong is kept, and something of the type is returned."""

    def __init__(self, value: object, name: str, faults: Faults) -> None:
        if not isinstance(value, Mapping):
            faults.add(name, "must be a mapping")
            value = {}
        self.name = name
        self.faults = faults
        self._values: Mapping[object, object] = value
        self._unread = set(value)

    def has(self, key: str) -> bool:
        """Say whether it says anything under this key."""
        return key in self._values

    def text(
        self, key: str, form: re.Pattern[str] = TEXT, *, default: str | None = None, must: str = ""
    ) -> str:
        """The text under `key`, of this form."""
        value = self._take(key, default)
        if not isinstance(value, str) or form.match(value) is None:
            if value is not None:
                self.fault(key, must or "must be a text")
            return default or ""
        return value

    def number(self, key: str, low: float, high: float, *, default: float) -> float:
        """The number under `key`, from `low` to `high`."""
        value = self._take(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            self.fault(key, f"must be a number from {low:g} to {high:g}")
            return default
        return float(value)

    def one_of(self, key: str, words: Collection[str], *, default: str | None = None) -> str:
        """The word under `key`, one of these."""
        value = self._take(key, default)
        if isinstance(value, str) and value in words:
            return value
        if value is not None:
            self.fault(key, f"must be one of {', '.join(sorted(words))}")
        return default or next(iter(words))

    def texts(
        self, key: str, form: re.Pattern[str], *, must: str, default: Collection[str] | None = None
    ) -> tuple[str, ...]:
        """The texts listed under `key`, each of this form, none of them twice."""
        value = self._take(key, list(default) if default is not None else None)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > LIST_MAX:
            self.fault(key, f"must be a list of at most {LIST_MAX}")
            return ()
        found = [one for one in value if isinstance(one, str) and form.match(one)]
        if len(found) < len(value):
            self.fault(key, must)
        elif len(set(found)) < len(found):
            self.fault(key, "must name each once")
        elif not found and default is None:
            self.fault(key, "must not be empty")
        return tuple(found)

    def url(self, key: str, *, default: str | None = None) -> str:
        """The address under `key`; only https, except on a laptop."""
        value = self.text(key, default=default)
        if not value:
            return value
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            self.fault(key, "is not a URL")
            return value
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            self.fault(key, "must begin with https:// and name a host")
        elif parts.username is not None or parts.password is not None or parts.fragment:
            self.fault(key, "must carry neither a name nor a password nor a fragment")
        elif self.faults.strict and parts.scheme != "https":
            self.fault(key, "must be https outside ACGS_ENV=dev: others could read along")
        return value

    def path(self, key: str) -> Path | None:
        """The file under `key`, which can be read; None when none is named."""
        if not self.has(key):
            return None
        path = Path(self.text(key)).expanduser()
        if not path.is_absolute() or not path.is_file():
            self.fault(key, "must be the absolute path of a file")
            return None
        return path

    def authority(self, key: str) -> Path | None:
        """The file under `key`, which holds certificates in PEM; None when none is named."""
        path = self.path(key)
        if path is None:
            return None
        try:
            ssl.create_default_context(cafile=str(path))
        except (ssl.SSLError, OSError) as error:
            why = error.strerror or type(error).__name__
            self.fault(key, f"must hold certificates in PEM ({why})")
        return path

    def secret(self, key: str) -> SecretStr:
        """The secret that `key` says where to find."""
        return self._secret(self.part(key))

    def secrets(self, key: str, *, most: int) -> tuple[SecretStr, ...]:
        """The secrets that the list under `key` says where to find: one, or a few."""
        value = self._take(key, None)
        if value is None:
            return ()
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            self.fault(key, f"must be a list of 1 to {most}")
            return ()
        named = (f"{self.name}.{key}[{number}]" for number in range(len(value)))
        return tuple(
            self._secret(Section(one, name, self.faults))
            for one, name in zip(value, named, strict=True)
        )

    def part(self, key: str) -> Section:
        """The section under `key`."""
        return Section(self._take(key, None) or {}, f"{self.name}.{key}", self.faults)

    def parts(self, key: str) -> Mapping[str, Section]:
        """The sections under `key`, by their names."""
        value = self._take(key, None)
        if not isinstance(value, Mapping):
            if value is not None:
                self.fault(key, "must be a mapping")
            return {}
        return {
            str(name): Section(one, f"{self.name}.{key}.{name}", self.faults)
            for name, one in value.items()
        }

    def fault(self, key: str, what: str) -> None:
        """Keep a fault of what stands under `key`."""
        self.faults.add(f"{self.name}.{key}", what)

    def close(self) -> None:
        """Keep a fault for what nobody has read: a misspelt filter would filter nothing."""
        for key in sorted(map(str, self._unread)):
            self.fault(key, "is not known here")

    def _take(self, key: str, default: object) -> object:
        if key not in self._values:
            if default is None:
                self.fault(key, "is missing")
            return default
        self._unread.discard(key)
        value = self._values[key]
        if value is None:
            self.fault(key, "is empty")
            return default
        return value

    def _secret(self, section: Section) -> SecretStr:
        ways = [way for way in ("secret_env", "secret_file") if section.has(way)]
        if len(ways) != 1:
            self.faults.add(section.name, "must have a secret_env or a secret_file, one of them")
            return SecretStr("")
        where = section.text(ways[0])
        section.close()
        if ways[0] == "secret_file" and not where.startswith("/"):
            self.faults.add(section.name, "must name its secret_file by an absolute path")
        found = self._from_env(where) if ways[0] == "secret_env" else _from_file(where)
        if not found:
            self.faults.add(section.name, f"names {where}, where there is no secret")
        elif self.faults.strict and _is_placeholder(found):
            self.faults.add(section.name, f"names {where}, which holds a placeholder")
        return SecretStr(found)

    def _from_env(self, name: str) -> str:
        return self.faults.env.get(name, "").strip()


def _from_file(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            raw = file.read(SECRET_BYTES_MAX + 1)
        return raw.decode().strip() if len(raw) <= SECRET_BYTES_MAX else ""
    except (OSError, ValueError):
        return ""


def _is_placeholder(secret: str) -> bool:
    few = len(set(secret)) < min(8, len(secret))
    return len(secret) < 8 or few or any(word in secret.lower() for word in PLACEHOLDERS)
