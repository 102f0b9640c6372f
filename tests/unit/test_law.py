"""The constitution on disk: its digest, and what cannot be read."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from cluster.law import CONSTITUTION_FILE, SIZE_MAX, load_constitution
from cluster.opa.engine import BundleError
from policies.constitution import ConstitutionError


def test_the_digest_is_that_of_the_bytes() -> None:
    digest = sha256(CONSTITUTION_FILE.read_bytes()).hexdigest()
    assert load_constitution().digest == f"sha256:{digest}"


def test_one_byte_more_is_another_digest(tmp_path: Path) -> None:
    copy = tmp_path / "constitution.yaml"
    copy.write_bytes(CONSTITUTION_FILE.read_bytes() + b"\n")
    amended = load_constitution(copy)
    assert amended.digest != load_constitution().digest
    assert amended.principles == load_constitution().principles


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConstitutionError, match=r"none\.yaml cannot be read: No such file"):
        load_constitution(tmp_path / "none.yaml")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (SIZE_MAX + 1))
    with pytest.raises(ConstitutionError, match="is over 1048576 bytes"):
        load_constitution(large)


@pytest.mark.parametrize(
    ("document", "match"),
    [
        (b"version: 1\nversion: 2\n", "a key stands twice"),
        (b"a: {b: 1, b: 2}\n", "a key stands twice"),
        (b"a: &x [1]\nb: *x\n", "aliases are not allowed"),
        (b"a: [\n", "is not unambiguous YAML"),
        (b"\xff\xfe\xfa", "is not unambiguous YAML"),
        (b"!!python/object/apply:os.system ['true']", "is not unambiguous YAML"),
        (b"? [1]\n: 2\n", "is not unambiguous YAML"),
        (b"[" * 100_000, "is not unambiguous YAML"),
        (b"", "the document must be a mapping"),
    ],
    ids=["twice", "twice-inside", "alias", "cut", "not-utf8", "python", "odd-key", "deep", "empty"],
)
def test_what_is_ambiguous_is_refused(tmp_path: Path, document: bytes, match: str) -> None:
    path = tmp_path / "constitution.yaml"
    path.write_bytes(document)
    with pytest.raises(ConstitutionError, match=match):
        load_constitution(path)


def test_a_policy_without_the_named_rules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.rego").write_text("package acgs.other\nimport rego.v1\nx := 1\n")
    with pytest.raises(ConstitutionError, match="which the policy does not have"):
        load_constitution(rego_dir=tmp_path)


def test_a_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        load_constitution(rego_dir=tmp_path / "none")


def test_it_is_read_without_a_policy_when_asked_to() -> None:
    assert load_constitution(rego_dir=None) == load_constitution()
