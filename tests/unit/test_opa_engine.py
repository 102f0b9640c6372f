"""A bundle is its content, and its revision says so."""

from __future__ import annotations

import pickle

import pytest
from opa_bundles import HEAD, a_bundle

from cluster.opa.engine import Bundle, BundleError
from cluster.opa.native import NativeEngine

REGO = HEAD + "decision := data.cfg"


def test_the_order_of_the_files_does_not_change_the_revision() -> None:
    files = {"b.rego": REGO, "a.rego": "package a\n", "cfg/data.json": "{}"}
    backwards = dict(reversed(files.items()))
    assert Bundle.of(files).revision == Bundle.of(backwards).revision
    assert Bundle.of(files) == Bundle.of(backwards)


def test_the_revision_is_a_digest_that_will_not_change_from_one_release_to_the_next() -> None:
    # Made with sha256sum: of the file, then of `acgs bundle v1\n[["a.rego", "<that>"]]`.
    revision = Bundle.of({"a.rego": "package a\n"}).revision
    assert revision == "sha256:5d0e9f619e74e59a709e6cbcbebb9ef422652e7667ad607d961c5c9f2170097c"


@pytest.mark.parametrize(
    "changed",
    [
        {"a.rego": "package a\n", "cfg/data.json": '{"x": 1 }'},
        {"a.rego": "package a", "cfg/data.json": '{"x": 1}'},
        {"b.rego": "package a\n", "cfg/data.json": '{"x": 1}'},
        {"a.rego": "package a\n", "data.json": '{"x": 1}'},
        {"a.rego": "package a\n"},
        {"a.rego": "package a\n", "b.rego": "package b\n", "cfg/data.json": '{"x": 1}'},
    ],
)
def test_any_change_of_a_file_changes_the_revision(changed: dict[str, str]) -> None:
    bundle = Bundle.of({"a.rego": "package a\n", "cfg/data.json": '{"x": 1}'})
    assert Bundle.of(changed).revision != bundle.revision


def test_a_bundle_survives_a_journey_and_cannot_be_changed() -> None:
    bundle = a_bundle("decision := 1", names=["a"])
    assert pickle.loads(pickle.dumps(bundle)) == bundle
    with pytest.raises(AttributeError):
        bundle.revision = "sha256:0"  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        ("../a.rego", REGO, "inside the bundle"),
        ("/etc/a.rego", REGO, "inside the bundle"),
        ("a/../b.rego", REGO, "inside the bundle"),
        ("a//b.rego", REGO, "inside the bundle"),
        ("./b.rego", REGO, "inside the bundle"),
        ("a\\b.rego", REGO, "does not belong in a path"),
        ("a\n.rego", REGO, "does not belong in a path"),
        ("a\0.rego", REGO, "does not belong in a path"),
        ("a.rego", REGO + "\0# hidden", "NUL"),
        ("a.rego", b"package a\n# \xff", "UTF-8"),
        ("a.txt", "hello", "only"),
        ("x/other.json", "{}", "only"),
        ("data.json", "[1]", "object"),
        ("data.json", '{"a": NaN}', "not JSON"),
        ("data.json", '{"a": 1} trailing', "not JSON"),
    ],
)
def test_a_file_that_is_unsound_is_refused_by_name(
    path: str, content: bytes | str, why: str
) -> None:
    with pytest.raises(BundleError, match=why):
        Bundle.of({"sound.rego": REGO, path: content})


def test_a_bundle_without_a_policy_is_refused() -> None:
    with pytest.raises(BundleError, match="no policy"):
        Bundle.of({"data.json": "{}"})


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="same path"):
        Bundle((("a.rego", b"package a\n"), ("a.rego", b"package b\n")))


def test_the_place_of_a_data_file_is_its_place_under_data() -> None:
    bundle = Bundle.of(
        {
            "p.rego": HEAD + "decision := data.cfg",
            "cfg/data.json": '{"a": 1}',
            "cfg/with.dot/data.json": '{"b": 2}',
        }
    )
    engine = NativeEngine(bundle, "acgs.governance.decision")
    assert engine.evaluate(b"{}") == {"a": 1, "with.dot": {"b": 2}}


def test_a_number_in_the_data_is_not_rounded_on_its_way_to_opa() -> None:
    bundle = Bundle.of(
        {
            "p.rego": HEAD + "decision := format_int(data.cfg.n, 10)",
            "cfg/data.json": '{"n": 12345678901234567891234567}',
        }
    )
    engine = NativeEngine(bundle, "acgs.governance.decision")
    assert engine.evaluate(b"{}") == "12345678901234567891234567"
