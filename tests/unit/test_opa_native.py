"""Without OPA's library nothing starts, and nobody is let through instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opa_bundles import ALLOWING, a_bundle

from cluster.errors import ConfigurationError
from cluster.opa.embedded import EmbeddedEngine
from cluster.opa.engine import BundleError, EvaluationError, UndefinedError
from cluster.opa.native import NativeEngine, go_environment, load_library

ENTRYPOINT = "acgs.governance.decision"


@pytest.fixture
def not_loaded() -> Iterator[None]:
    load_library.cache_clear()
    yield
    load_library.cache_clear()


@pytest.mark.usefixtures("not_loaded")
def test_defect_1_a_missing_policy_library_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opa_bindings", None)
    with pytest.raises(ConfigurationError, match="ACGS_OPA_URL") as caught:
        EmbeddedEngine(ALLOWING)
    assert "make setup" in str(caught.value)


@pytest.mark.usefixtures("not_loaded")
def test_defect_1_a_library_for_another_machine_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from opa_bindings import _native

    def wrong_machine() -> None:
        raise OSError("libopabridge.so: wrong ELF class")

    monkeypatch.setattr(_native, "load", wrong_machine)
    with pytest.raises(ConfigurationError, match=r"wrong ELF class.*ACGS_OPA_URL"):
        EmbeddedEngine(ALLOWING)


def test_importing_the_engine_does_not_load_the_library() -> None:
    code = (
        "import sys, cluster.opa.embedded, cluster.opa.rest, serve_app.judges.policy\n"
        "sys.exit('opa_bindings' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_go_collects_less_often_in_a_process_that_was_started_for_it() -> None:
    code = (
        "from lawbook import bundle; from cluster.opa.native import NativeEngine\n"
        f"engine = NativeEngine(bundle(), {ENTRYPOINT!r})\n"
        "for _ in range(300): engine.evaluate(b'{}')"
    )

    def collections(**given: str) -> int:
        plain = {key: value for key, value in os.environ.items() if key != "GOGC"}
        paths = os.pathsep.join(path for path in sys.path if path)
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**plain, "GODEBUG": "gctrace=1", "PYTHONPATH": paths, **given},
        )
        return done.stderr.count(b"\ngc ")

    assert collections(**go_environment()) * 3 < collections()


def test_what_an_operator_set_for_go_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOGC", raising=False)
    assert int(go_environment()["GOGC"]) > 1000
    monkeypatch.setenv("GOGC", "200")
    assert go_environment() == {"GOGC": "200"}


def test_an_input_is_never_cut_at_a_nul() -> None:
    engine = NativeEngine(a_bundle(), ENTRYPOINT)
    with pytest.raises(EvaluationError, match="NUL"):
        engine.evaluate(b'{"x": 1}\0{"x": 2}')
    assert engine.evaluate(b'{"x": "a\\u0000b"}') == "a\0b"


@pytest.mark.parametrize("document", [b"", b"{", b'{"x": 1} 2', b"\xff"])
def test_an_input_that_is_no_json_is_an_error(document: bytes) -> None:
    with pytest.raises(EvaluationError):
        NativeEngine(a_bundle(), ENTRYPOINT).evaluate(document)


def test_undefined_is_not_an_answer() -> None:
    with pytest.raises(UndefinedError):
        NativeEngine(a_bundle(), ENTRYPOINT).evaluate(b"{}")


@pytest.mark.parametrize("value", ["null", "false", '""', "[]", "{}", "0"])
def test_a_defined_answer_is_returned_even_if_it_is_nothing_much(value: str) -> None:
    engine = NativeEngine(a_bundle(), ENTRYPOINT)
    assert engine.evaluate(f'{{"x": {value}}}'.encode()) == json.loads(value)


@pytest.mark.parametrize(
    "rules",
    [
        "decision := unknown_function(1)",
        "decision := x",
        'decision := 1 if { 1 == "a" }',
        "decision := f(1)\nf(x) := f(x)",
    ],
)
def test_a_policy_that_does_not_compile_is_refused_before_it_is_asked(rules: str) -> None:
    with pytest.raises(BundleError):
        NativeEngine(a_bundle(rules), ENTRYPOINT)


def test_data_in_the_place_of_a_policy_is_refused() -> None:
    bundle = a_bundle("decision := 1")
    files = dict(bundle.files) | {"acgs/governance/data.json": b'{"decision": {"allow": true}}'}
    with pytest.raises(BundleError, match="conflicting"):
        NativeEngine(type(bundle).of(files), ENTRYPOINT)


def test_what_a_policy_prints_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    engine = NativeEngine(a_bundle('decision := 1 if print("seen:", input.x)'), ENTRYPOINT)
    assert engine.evaluate(b'{"x": "somebody@example.com"}') == 1
    assert capfd.readouterr() == ("", "")


def test_a_closed_engine_says_so() -> None:
    engine = NativeEngine(a_bundle(), ENTRYPOINT)
    engine.close()
    engine.close()
    with pytest.raises(EvaluationError, match="closed"):
        engine.evaluate(b'{"x": 1}')
