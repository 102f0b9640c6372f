"""Bundles from where they lie: a folder, or an archive as OPA serves and builds them.

Laws of this file:
1. A path never leads out of the folder or archive.
2. How much is read is bounded before it is read.
3. What is silently different between OPA's reader and ours is refused instead.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, cast

import orjson

from cluster import plain_yaml
from cluster.opa.engine import DATA_FILE, Bundle, BundleError
from cluster.opa.inspection import inspect

SIZE_MAX: Final = 32 << 20  # unpacked; the default bundle is far below 1 MiB
FILES_MAX: Final = 10_000

_YAML_NAMES = frozenset({"data.yaml", "data.yml"})
# They change what OPA does with the rest of the archive, and we do not do that.
_NOT_UNDERSTOOD = {
    "patch.json": "delta bundles are not supported; build a snapshot",
    "policy.wasm": "compiled policies are not supported; build the bundle from Rego",
    "plan.json": "planned policies are not supported; build the bundle from Rego",
}


def load_folder(root: Path) -> Bundle:
    """Return the bundle in a folder, once it has passed inspection."""
    return inspect(read_folder(root))


def load_archive(archive: bytes, *, size_max: int = SIZE_MAX) -> Bundle:
    """Return the bundle in an OPA `.tar.gz`, once it has passed inspection."""
    return inspect(read_archive(archive, size_max=size_max))


def read_folder(root: Path, *, with_tests: bool = False) -> Bundle:
    """Return the bundle in a folder as it lies there. Raises BundleError.

    Hidden files and folders are left out (a mounted ConfigMap keeps its older versions there), and
    so are `*_test.rego`, unless asked for.
    """
    root = root.resolve()
    if not root.is_dir():
        raise BundleError(str(root), "there is no such folder of policies")
    files: dict[str, bytes] = {}
    room = SIZE_MAX
    for path in _paths(root):
        name = path.relative_to(root).as_posix()
        if not _belongs(name, with_tests=with_tests):
            continue
        room -= path.stat().st_size
        if room < 0 or len(files) >= FILES_MAX:
            raise BundleError(name, f"the bundle is over {SIZE_MAX} bytes or {FILES_MAX} files")
        _add(files, name, path.read_bytes())
    return Bundle.of(files)


def read_archive(archive: bytes, *, size_max: int = SIZE_MAX) -> Bundle:
    """Return the bundle in an OPA `.tar.gz` as it lies there. Raises BundleError."""
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    for name, content in _members(_unpacked(archive, size_max)):
        if name in seen:
            raise BundleError(name, "the archive holds this path twice")
        seen.add(name)
        if name == ".manifest":
            _require_plain(content)
        elif _belongs(name, with_tests=False):
            _add(files, name, content)
    return Bundle.of(files)


def _paths(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or not path.is_file():
                continue
            if not path.resolve().is_relative_to(root):
                raise BundleError(str(path.relative_to(root)), "the link leads out of the folder")
            yield path


def _belongs(name: str, *, with_tests: bool) -> bool:
    last = PurePosixPath(name).name
    if last in _NOT_UNDERSTOOD:
        raise BundleError(name, _NOT_UNDERSTOOD[last])
    if last.endswith(".rego"):
        return with_tests or not last.endswith("_test.rego")
    return last == DATA_FILE or last in _YAML_NAMES


def _add(files: dict[str, bytes], name: str, content: bytes) -> None:
    path = PurePosixPath(name)
    if path.name in _YAML_NAMES:
        content = _json_of_yaml(name, content)
        name = str(path.with_name(DATA_FILE))
    if name in files:
        raise BundleError(name, "data.json and data.yaml lie in the same folder")
    files[name] = content


def _unpacked(archive: bytes, size_max: int) -> bytes:
    """Return the tar inside, reading no further than `size_max`: a few bytes can hold terabytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as stream:
            unpacked = stream.read(size_max + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BundleError("", f"this is not a .tar.gz archive: {error}") from error
    if len(unpacked) > size_max:
        raise BundleError("", f"the archive is over {size_max} bytes unpacked")
    return unpacked


def _members(unpacked: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= FILES_MAX:
                    raise BundleError(member.name, f"the archive has over {FILES_MAX} files")
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise BundleError(member.name, "only plain files belong in an archive")
                content = cast("io.BufferedReader", archive.extractfile(member)).read()
                yield _inside(member.name), content
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise BundleError("", f"this is not a .tar.gz archive: {error}") from error


def _inside(name: str) -> str:
    """Return the path as a bundle names it; OPA's own archives begin each with a slash."""
    path = PurePosixPath(name.removeprefix("/"))
    if ".." in path.parts or path.is_absolute() or "\\" in name or not path.parts:
        raise BundleError(name, "the path leads out of the archive")
    return str(path)


def _require_plain(manifest: bytes) -> None:
    try:
        fields = orjson.loads(manifest)
    except orjson.JSONDecodeError as error:
        raise BundleError(".manifest", f"the file is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BundleError(".manifest", "the manifest must be an object")
    if fields.get("wasm"):
        raise BundleError(".manifest", _NOT_UNDERSTOOD["policy.wasm"])
    versions = fields.get("file_rego_versions") or {}
    if not isinstance(versions, dict):
        raise BundleError(".manifest", "file_rego_versions must be an object")
    if any(version != 1 for version in (fields.get("rego_version", 1), *versions.values())):
        raise BundleError(".manifest", "policies must be written in Rego v1")


def _json_of_yaml(name: str, content: bytes) -> bytes:
    try:
        return orjson.dumps(plain_yaml.load(content))
    except (plain_yaml.PlainYamlError, TypeError) as error:
        raise BundleError(name, f"the data is not what JSON can hold: {error}") from error
