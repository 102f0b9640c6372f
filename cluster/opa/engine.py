"""What a policy engine is, what it runs, and every way in which it may fail to answer.

Laws of this file:
1. An engine answers with a value and the revision that gave it, or raises a named error.
2. A bundle's revision says what is in it, and nothing else: not where it lay, nor in which order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final, Protocol

import orjson

from policies.errors import GovernanceError

ENTRYPOINT: Final = "acgs.governance.decision"
DATA_FILE: Final = "data.json"


class BundleError(GovernanceError):
    """The bundle is at fault, so it is not activated; what was active stays active."""

    code = "policy.bundle_refused"
    status = 422

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.path else self.detail


class EvaluationError(GovernanceError):
    """The engine is there, and yet it gave no answer that can be believed."""

    code = "policy.error"
    status = 503

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class UndefinedError(EvaluationError):
    """The policy has no opinion: its decision is undefined for this input."""

    code = "policy.undefined"


class DeadlineError(EvaluationError):
    """The evaluation did not end in time."""

    code = "policy.timeout"
    retryable = True


class AnswerError(EvaluationError):
    """What came back is not an answer of OPA."""

    code = "policy.malformed"


class RevisionMismatchError(EvaluationError):
    """The engine judges under another revision than the one we were told to believe."""

    code = "policy.revision_mismatch"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A JSON value, as the policy gave it, and the revision that gave it."""

    value: object
    revision: str


class PolicyEngine(Protocol):
    """Answers one entrypoint, for one revision at a time.

    `name` is `opa-embedded` or `opa-server`. `revision` is what the next evaluation is expected
    to run under, and empty when that is known only afterwards.
    """

    @property
    def name(self) -> str:
        """The engine's name in every decision."""
        ...

    @property
    def revision(self) -> str:
        """The active revision, `sha256:<hex>`, or empty."""
        ...

    async def evaluate(self, document: bytes, deadline_s: float) -> Evaluation:
        """Return the entrypoint's value for an input document in JSON.

        Raises EvaluationError or one of its kinds, and EngineUnavailableError; nothing else, and
        not later than the deadline.
        """
        ...

    async def check(self) -> str:
        """Return a sentence on how it is; raise EngineUnavailableError if it cannot answer."""
        ...

    async def close(self) -> None:
        """Let go of threads, connections and memory; evaluations after this are refused."""
        ...


@dataclass(frozen=True, slots=True)
class Bundle:
    """Rego modules and base data, named by their content.

    `files` are pairs of path and bytes: `*.rego` modules, and `data.json` objects whose folder is
    their place under `data`. `revision` is `sha256:<hex>` over the sorted paths and the digests
    of the files. Raises BundleError for any other file, and for text that is not UTF-8.
    """

    files: tuple[tuple[str, bytes], ...]
    revision: str = field(init=False)

    def __post_init__(self) -> None:
        files = tuple(sorted(self.files))
        for path, content in files:
            _require_sound(path, content)
        if len({path for path, _ in files}) < len(files):
            raise BundleError("", "two files of the bundle have the same path")
        if not any(path.endswith(".rego") for path, _ in files):
            raise BundleError("", "the bundle holds no policy (no *.rego file)")
        object.__setattr__(self, "files", files)
        object.__setattr__(self, "revision", _revision(files))

    @classmethod
    def of(cls, files: Mapping[str, bytes | str]) -> Bundle:
        """Return the bundle of these files by path."""
        return cls(tuple((path, _bytes(content)) for path, content in files.items()))

    def modules(self) -> Iterator[tuple[str, str]]:
        """Each module's path and source."""
        return ((path, text.decode()) for path, text in self.files if path.endswith(".rego"))

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Each data file's path, and its JSON placed under the root of `data`.

        The text of the file is kept as it is: a number is not rounded on its way to OPA.
        """
        for path, text in self.files:
            if not path.endswith(".rego"):
                yield path, _placed(PurePosixPath(path).parent.parts, text)


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _revision(files: tuple[tuple[str, bytes], ...]) -> str:
    listing = json.dumps([[path, sha256(content).hexdigest()] for path, content in files])
    # The first line keeps the digest of a listing from ever being the digest of something else.
    return "sha256:" + sha256(b"acgs bundle v1\n" + listing.encode()).hexdigest()


def _placed(folders: tuple[str, ...], text: bytes) -> bytes:
    opening = b"".join(b"{" + orjson.dumps(folder) + b":" for folder in folders)
    return opening + text + b"}" * len(folders)


def _require_sound(path: str, content: bytes) -> None:
    parts = path.split("/")
    if not path or path != str(PurePosixPath(path)) or parts[0] == "" or ".." in parts:
        raise BundleError(path, "the path must be relative and stay inside the bundle")
    if "\0" in path or "\\" in path or not path.isprintable():
        raise BundleError(path, "the path holds a character that does not belong in a path")
    if b"\0" in content:  # C strings end there: OPA would read something shorter than we hashed
        raise BundleError(path, "the file holds a NUL byte")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise BundleError(path, f"the file is not UTF-8: {error.reason}") from error
    if parts[-1] == DATA_FILE:
        _require_object(path, content)
    elif not path.endswith(".rego"):
        raise BundleError(path, f"only *.rego and {DATA_FILE} belong in a bundle")


def _require_object(path: str, content: bytes) -> None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BundleError(path, f"the file is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(path, "the data must be an object")
