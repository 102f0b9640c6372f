"""Bundles are read from folders and archives, and nothing leads out of either."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from opa_bundles import HEAD

from cluster.opa.bundles import load_archive, load_folder, read_archive, read_folder
from cluster.opa.engine import BundleError

REGO = HEAD + "decision := data.cfg\n"
FILES = {"acgs/governance.rego": REGO, "cfg/data.json": '{"a": 1}'}


def an_archive(files: dict[str, str], *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
        for member in extra:
            archive.addfile(member)
    return buffer.getvalue()


def a_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_a_folder_and_its_archive_are_the_same_revision(tmp_path: Path) -> None:
    folder = load_folder(lay(tmp_path, FILES))
    assert load_archive(an_archive(FILES)).revision == folder.revision
    # `opa build` begins each path with a slash, and adds a manifest.
    built = {f"/{name}": text for name, text in FILES.items()} | {"/.manifest": '{"revision":"7"}'}
    assert load_archive(an_archive(built)).revision == folder.revision


def test_tests_of_policies_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    root = lay(tmp_path, FILES | {"acgs/governance_test.rego": "package acgs.governance_test\n"})
    assert [path for path, _ in read_folder(root).files] == sorted(FILES)
    assert len(read_folder(root, with_tests=True).files) == 3
    assert read_archive(an_archive({**FILES, "x_test.rego": "package x\n"})) == read_folder(root)


def test_other_files_are_left_out(tmp_path: Path) -> None:
    others = {"README.md": "#", "cfg/schema.json": "{}", "acgs/notes.txt": "x"}
    assert read_folder(lay(tmp_path, FILES | others)).files == read_archive(an_archive(FILES)).files


def test_a_mounted_configmap_is_read_once(tmp_path: Path) -> None:
    lay(tmp_path / "..2026_11_23", {"governance.rego": REGO})
    (tmp_path / "..data").symlink_to("..2026_11_23")
    (tmp_path / "governance.rego").symlink_to("..data/governance.rego")
    assert [path for path, _ in read_folder(tmp_path).files] == ["governance.rego"]


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = lay(tmp_path / "outside", {"secret.rego": REGO})
    root = lay(tmp_path / "policies", FILES)
    (root / "link.rego").symlink_to(outside / "secret.rego")
    with pytest.raises(BundleError, match=r"link\.rego.*out of the folder"):
        read_folder(root)


def test_a_linked_folder_is_not_followed(tmp_path: Path) -> None:
    outside = lay(tmp_path / "outside", {"secret.rego": REGO})
    root = lay(tmp_path / "policies", FILES)
    (root / "more").symlink_to(outside)
    assert [path for path, _ in read_folder(root).files] == sorted(FILES)


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        read_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["../evil.rego", "a/../../evil.rego", "//etc/evil.rego", "a\\b.rego"]
)
def test_an_archive_whose_path_escapes_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="out of the archive"):
        read_archive(an_archive({**FILES, name: REGO}))


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "acgs/governance.rego"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_an_archive_with_anything_but_plain_files_is_refused(kind: bytes, target: str) -> None:
    with pytest.raises(BundleError, match="only plain files"):
        read_archive(an_archive(FILES, a_member("more.rego", kind, target)))


def test_an_archive_that_holds_a_path_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="twice"):
        read_archive(an_archive({**FILES, "/cfg/data.json": "{}"}))


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(bytes(8 << 20))
    assert len(bomb) < 10_000
    with pytest.raises(BundleError, match="unpacked"):
        read_archive(bomb, size_max=1 << 20)


@pytest.mark.parametrize(
    "archive",
    [b"", b"PK\x03\x04", os.urandom(4096), an_archive(FILES)[:100], gzip.compress(b"no tar" * 200)],
)
def test_what_is_no_archive_is_refused(archive: bytes) -> None:
    with pytest.raises(BundleError):
        read_archive(archive)


@pytest.mark.parametrize("name", ["patch.json", "policy.wasm", "acgs/policy.wasm", "plan.json"])
def test_what_would_change_the_meaning_of_the_rest_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="not supported"):
        read_archive(an_archive({**FILES, name: "{}"}))


@pytest.mark.parametrize(
    "manifest",
    [
        '{"rego_version": 0}',
        '{"file_rego_versions": {"/a.rego": 0}}',
        '{"wasm": [{"entrypoint": "acgs/governance/decision"}]}',
        '{"file_rego_versions": 5}',
        "[]",
        "{",
    ],
)
def test_a_manifest_that_we_do_not_obey_is_refused(manifest: str) -> None:
    with pytest.raises(BundleError, match="manifest"):
        read_archive(an_archive({**FILES, ".manifest": manifest}))


def test_yaml_data_is_the_json_that_it_says(tmp_path: Path) -> None:
    rego = FILES["acgs/governance.rego"]
    yaml = lay(tmp_path / "y", {"p.rego": rego, "cfg/data.yaml": "a: 1\nwhen: 2026-11-23\n"})
    json = lay(tmp_path / "j", {"p.rego": rego, "cfg/data.json": '{"a":1,"when":"2026-11-23"}'})
    assert read_folder(yaml) == read_folder(json)


@pytest.mark.parametrize(
    "yaml",
    [
        "a: &x [1]\nb: *x\n",
        "a: 1\na: 2\n",
        "1: a\n",
        "a: .nan\nb: [\n",
        "!!python/object/apply:os.system ['true']\n",
        "- 1\n",
    ],
)
def test_yaml_that_json_cannot_hold_is_refused(tmp_path: Path, yaml: str) -> None:
    root = lay(tmp_path, {"p.rego": REGO, "cfg/data.yaml": yaml})
    with pytest.raises(BundleError, match=r"data\.(yaml|json)"):
        read_folder(root)


def test_json_and_yaml_of_one_folder_are_refused(tmp_path: Path) -> None:
    root = lay(tmp_path, FILES | {"cfg/data.yaml": "b: 1\n"})
    with pytest.raises(BundleError, match="same folder"):
        read_folder(root)


def test_a_bundle_is_loaded_only_if_it_passes_inspection(tmp_path: Path) -> None:
    files = {"p.rego": HEAD + 'decision := http.send({"method": "get", "url": "http://x"})\n'}
    assert read_folder(lay(tmp_path, files)).revision
    with pytest.raises(BundleError, match=r"http\.send"):
        load_folder(tmp_path)
    with pytest.raises(BundleError, match=r"http\.send"):
        load_archive(an_archive(files))
