"""The door to OPA's Go library: bytes in, values out, on the thread of the caller.

We speak to the library's C functions rather than through the wheel's `OpaEngine`: that one
encodes the input a second time and writes what a policy prints, personal data included, to
stderr. The wheel is pinned by hash, so its functions do not change under us.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, Final

import orjson

from cluster.errors import ConfigurationError
from cluster.opa.engine import Bundle, BundleError, EvaluationError, UndefinedError

# Go's collector runs less often; the price is memory, some 130 MB (docs/adr/0004 has the figures).
_GOGC: Final = "1600"

_NOT_INSTALLED = (
    "the embedded policy engine cannot be loaded ({reason}); run `make setup` to install the wheel "
    "opa-golib-python-bindings, which is there for Linux x86-64 and arm64 (glibc 2.34) and macOS "
    "arm64, or set ACGS_OPA_URL to an OPA server"
)
_FAULTS_OF_THE_BUNDLE: Final = frozenset({"parse_error", "prepare_error", "merge_conflict"})


def go_environment() -> dict[str, str]:
    """Return what a process that evaluates should have in its environment when it is started.

    Go reads what the process was started with, so setting it later, even before the library is
    loaded, changes nothing.
    """
    return {"GOGC": os.environ.get("GOGC", _GOGC)}


@cache
def load_library() -> Any:
    """Load OPA into this process, once. Raises ConfigurationError where it is not installed."""
    try:
        from opa_bindings import _native  # noqa: PLC0415  # loads only where it is chosen

        return _native.load()
    except (ImportError, OSError) as error:
        raise ConfigurationError(_NOT_INSTALLED.format(reason=error)) from error


class NativeEngine:
    """One compiled bundle and one entrypoint, for one thread at a time.

    Raises BundleError when OPA refuses the bundle, and ConfigurationError without the library.
    """

    def __init__(self, bundle: Bundle, entrypoint: str, *, warm_up: bytes = b"{}") -> None:
        self._library = load_library()
        self._path = entrypoint.encode()
        self._handle: int | None = self._library.OpaNew()
        try:
            self._load(bundle)
            self._compile(warm_up)
        except BaseException:
            self.close()
            raise

    def evaluate(self, document: bytes) -> object:
        """Return the entrypoint's value. Raises UndefinedError or EvaluationError."""
        if b"\0" in document:  # a C string ends there, and OPA would judge only what is before
            raise EvaluationError("the input holds a NUL byte")
        envelope = self._call(self._library.OpaEvalDocument, self._path, document, 0, 0)
        error = envelope.get("error")
        if error:
            raise EvaluationError(f"OPA answered {error['code']}: {error['message']}")
        results = envelope.get("result")
        if not results:
            raise UndefinedError(f"data.{self._path.decode()} is undefined")
        value: object = results[0]["expressions"][0]["value"]
        return value

    def close(self) -> None:
        """Give the memory back; safe to call again."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.OpaDestroy(handle)

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def _load(self, bundle: Bundle) -> None:
        for path, source in bundle.modules():
            self._configure(path, self._library.OpaAddPolicy, path.encode(), source.encode())
        for path, document in bundle.documents():
            self._configure(path, self._library.OpaAddData, b"", document)

    def _compile(self, warm_up: bytes) -> None:
        """Evaluate once: OPA compiles at the first evaluation, and the second is the fast one."""
        for _ in range(2):
            envelope = self._call(self._library.OpaEvalDocument, self._path, warm_up, 0, 0)
            error = envelope.get("error")
            if error and error["code"] in _FAULTS_OF_THE_BUNDLE:
                raise BundleError("", str(error["message"]))

    def _configure(self, path: str, function: Any, *arguments: bytes) -> None:
        error = self._call(function, *arguments).get("error")
        if error:
            raise BundleError(path, str(error["message"]))

    def _call(self, function: Any, *arguments: bytes | int) -> dict[str, Any]:
        if self._handle is None:
            raise EvaluationError("the engine is closed")
        pointer = function(self._handle, *arguments)
        if not pointer:
            raise EvaluationError("OPA returned nothing")
        try:
            text = ctypes.string_at(pointer)
        finally:
            self._library.OpaFreeString(pointer)
        try:
            envelope: dict[str, Any] = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise EvaluationError(f"OPA's answer cannot be read: {error}") from error
        return envelope
