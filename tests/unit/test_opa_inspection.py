"""No bundle runs that reaches out, looks inside, or answers differently tomorrow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opa_bundles import HEAD, a_bundle

from cluster.opa.engine import Bundle, BundleError
from cluster.opa.inspection import FORBIDDEN, inspect
from cluster.opa.native import NativeEngine


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_a_forbidden_builtin_is_refused_with_its_name_and_the_reason(name: str) -> None:
    with pytest.raises(BundleError) as caught:
        inspect(a_bundle(f"decision := {name}(input.x)"))
    assert caught.value.path == "acgs/governance.rego"
    assert str(caught.value).endswith(f"{name} is not allowed here: {FORBIDDEN[name]}")


DISGUISES = {
    "index": 'decision := http["send"]({})',
    "raw index": "decision := http[`send`]({})",
    "escape": 'decision := http["\\u0073end"]({})',
    "template": 'decision := $"a {http.send({})} b"',
    "raw template": "decision := $`a {http.send({})} b`",
    "with": 'decision if json.marshal({}) == "" with json.marshal as http.send',
    "with one word": "decision if object.keys({}) == set() with object.keys as trace",
    "else": "decision := 1 if false else := http.send({})",
    "every": "decision if { every x in http.send({}) { x } }",
    "comprehension": "decision := {x: y | y := http.send({}); x := 1}",
    "nested": "decision := count(count([[http.send({})]]))",
    "key": "decision := {http.send({}): 1}",
    "head": "decision[http.send({})] := 1",
    "contains": "decision contains http.send({})",
    "not": "decision if not http.send({})",
    "function": "decision := f(1)\nf(x) := http.send(x)",
    "default function": "decision := f(1)\ndefault f(_) := 1\nf(x) := http.send(x)",
    "index of a reference": "decision := input[http.send({})]",
    "print": "decision if print(http.send({}))",
    "some": "decision if { some x in http.send({}) }",
    "dead branch": "decision if { false; http.send({}) }",
}


@pytest.mark.parametrize("rules", DISGUISES.values(), ids=DISGUISES.keys())
def test_a_disguise_does_not_help(rules: str) -> None:
    with pytest.raises(BundleError, match="is not allowed here"):
        inspect(a_bundle(rules))


def test_strings_comments_and_names_of_ones_own_are_not_mistaken_for_calls() -> None:
    bundle = a_bundle(
        "# http.send is never called\n"
        'decision := ["http.send", `opa.runtime()`, "trace(1)", input.http.send, trace, rand.x]\n'
        "trace := 1\n"
        'rand := {"x": 1}\n'
        "lineage if { some trace in input.traces; trace.id == 1 }"
    )
    assert inspect(bundle) is bundle


def test_another_module_of_the_bundle_is_looked_at_too() -> None:
    files = {"a.rego": HEAD + "decision := 1\n", "z/b.rego": "package b\np := opa.runtime()\n"}
    with pytest.raises(BundleError, match=r"^z/b\.rego: opa\.runtime"):
        inspect(Bundle.of(files))


def test_a_module_that_does_not_parse_is_refused_with_its_line() -> None:
    with pytest.raises(BundleError, match=r"acgs/governance\.rego:4: rego_parse_error"):
        inspect(a_bundle("decision := 1\nbroken := { ]"))


def test_rego_of_the_old_version_is_refused() -> None:
    with pytest.raises(BundleError, match="rego_parse_error"):
        inspect(Bundle.of({"a.rego": "package acgs.governance\ndecision[x] { x := 1 }\n"}))


@pytest.mark.parametrize("rules", ["other := 1", "decisions := 1"])
def test_a_bundle_without_the_entrypoint_is_refused(rules: str) -> None:
    with pytest.raises(BundleError, match=r"no data\.acgs\.governance\.decision"):
        inspect(a_bundle(rules))


def test_an_entrypoint_may_be_written_as_a_longer_name_in_a_shorter_package() -> None:
    inspect(Bundle.of({"a.rego": "package acgs\nimport rego.v1\ngovernance.decision := 1\n"}))


def test_a_module_that_is_nested_beyond_reading_is_refused() -> None:
    with pytest.raises(BundleError):
        inspect(a_bundle("decision := " + "[" * 700 + "]" * 700))


def test_a_module_of_more_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(BundleError, match="larger"):
        inspect(a_bundle("decision := 1\n" + "# padding\n" * 110_000))


class _Listening(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]  # ours
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"type": "object"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Listening)
    server.asked = 0  # type: ignore[attr-defined]  # ours
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_schemas_are_on_the_list_because_opa_really_fetches_them(listener: HTTPServer) -> None:
    # If this fails, OPA has stopped doing so, and the two built-ins may be allowed.
    rules = "decision := json.verify_schema(input.schema)"
    engine = NativeEngine(a_bundle(rules), "acgs.governance.decision")
    url = f"http://127.0.0.1:{listener.server_port}/"
    engine.evaluate(b'{"schema": {"$ref": "%s"}}' % url.encode())
    assert listener.asked > 0  # type: ignore[attr-defined]  # ours
