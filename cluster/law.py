"""The constitution from where it lies on disk.

Law: what was read is what the digest covers, and what cannot be read is not obeyed by halves.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

import policies
from cluster import plain_yaml
from cluster.constants import CONSTITUTIONAL_HASH
from cluster.opa.bundles import read_folder
from policies.constitution import Constitution, ConstitutionError, rules_in

CONSTITUTION_FILE: Final = Path(policies.__file__).with_name("constitution.yaml")
REGO_DIR: Final = Path(policies.__file__).with_name("rego")
SIZE_MAX: Final = 1 << 20


def load_constitution(
    path: Path = CONSTITUTION_FILE, *, rego_dir: Path | None = REGO_DIR
) -> Constitution:
    """Return the constitution in this file, with sha256 of its bytes as its digest.

    The rules that it names must be those of the policy in `rego_dir`; None compares with none.
    Raises ConstitutionError, and BundleError for a folder that holds no policy.
    """
    document = _read(path)
    return Constitution.from_mapping(
        _parsed(document, path),
        digest="sha256:" + sha256(document).hexdigest(),
        constitutional_hash=CONSTITUTIONAL_HASH,
        rules=None if rego_dir is None else _rules(rego_dir),
    )


def _rules(folder: Path) -> frozenset[str]:
    return rules_in(source for _, source in read_folder(folder).modules())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            document = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise ConstitutionError(str(path), f"cannot be read: {error.strerror}") from error
    if len(document) > SIZE_MAX:
        raise ConstitutionError(str(path), f"is over {SIZE_MAX} bytes")
    return document


def _parsed(document: bytes, path: Path) -> object:
    try:
        return plain_yaml.load(document)
    except plain_yaml.PlainYamlError as error:
        raise ConstitutionError(str(path), f"is not unambiguous YAML: {error}") from error
