"""Which built-in functions a bundle uses, read from the syntax tree that OPA itself makes.

A search through the text would stumble over strings and comments, and miss `http["send"]`,
templates and `with … as http.send`. The tree knows all of these as the same reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import orjson

from cluster.opa.engine import ENTRYPOINT, Bundle, BundleError, EvaluationError
from cluster.opa.native import NativeEngine

_NETWORK = "it reaches the network"
_PROCESS = "it looks into this process"
_TIME = "its answer depends on the time of day, and verdicts are cached and replayed"
_CHANCE = "its answer depends on chance, and verdicts are cached and replayed"

FORBIDDEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "http.send": _NETWORK,
        "net.lookup_ip_addr": _NETWORK,
        # Both fetch whatever "$ref" of the schema points to; seen with OPA 1.20.
        "json.match_schema": _NETWORK,
        "json.verify_schema": _NETWORK,
        "opa.runtime": _PROCESS,
        "rego.parse_module": _PROCESS,
        "trace": _PROCESS,
        "time.now_ns": _TIME,
        "io.jwt.decode_verify": _TIME,
        "crypto.x509.parse_and_verify_certificates": _TIME,
        "crypto.x509.parse_and_verify_certificates_with_options": _TIME,
        "providers.aws.sign_req": "it signs requests with somebody's credentials",
        "io.jwt.encode_sign": "it signs tokens",
        "io.jwt.encode_sign_raw": "it signs tokens",
        "rand.intn": _CHANCE,
        "uuid.rfc4122": _CHANCE,
    }
)

_PARSER: Final = Bundle.of(
    {
        "inspection.rego": "package acgs_inspection\nimport rego.v1\n"
        "tree := rego.parse_module(input.path, input.source)\n"
    }
)
_MODULE_SIZE_MAX = 1 << 20


@lru_cache(maxsize=8)
def inspect(bundle: Bundle, entrypoint: str = ENTRYPOINT) -> Bundle:
    """Return the bundle, if it may run here.

    Raises BundleError for a module that does not parse, one that uses a forbidden built-in, and
    for a bundle that does not define the entrypoint.
    """
    defined: set[str] = set()
    parser = NativeEngine(_PARSER, "acgs_inspection.tree")
    try:
        for path, source in bundle.modules():
            tree = _tree(parser, path, source)
            for name in used_builtins(tree):
                raise BundleError(path, f"{name} is not allowed here: {FORBIDDEN[name]}")
            defined.update(_rules(tree))
    finally:
        parser.close()
    if entrypoint not in defined:
        raise BundleError("", f"the bundle defines no data.{entrypoint}")
    return bundle


def used_builtins(tree: object) -> Iterator[str]:
    """Each forbidden built-in that the tree refers to, wherever it stands."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            name = _name(node)
            if name in FORBIDDEN:
                yield name
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _name(node: Mapping[str, Any]) -> str:
    """The name that this node refers to, dotted; empty when it refers to none.

    A name without a dot counts where it is called, and where `with` puts one function in the
    place of another. A variable may be called `trace`.
    """
    if node.get("type") == "ref":
        return _dotted(node["value"])
    if "target" in node and "value" in node:
        replacements = (node["target"], node["value"])
        names = (term["value"] for term in replacements if term.get("type") == "var")
        return next((name for name in names if name in FORBIDDEN), "")
    return ""


def _dotted(terms: list[Mapping[str, Any]]) -> str:
    """The forbidden name that the reference begins with, or all of its constant head."""
    name = ""
    for count, term in enumerate(terms, 1):
        if term.get("type") not in ("var", "string"):
            break
        name = f"{name}.{term['value']}" if name else str(term["value"])
        if name in FORBIDDEN and ("." in name or count == len(terms)):
            break
    return name


def _rules(tree: Mapping[str, Any]) -> Iterator[str]:
    package = [str(term["value"]) for term in tree["package"]["path"][1:]]
    for rule in tree.get("rules", ()):
        yield ".".join([*package, *(str(term.get("value")) for term in rule["head"]["ref"])])


def _tree(parser: NativeEngine, path: str, source: str) -> Mapping[str, Any]:
    if len(source) > _MODULE_SIZE_MAX:
        raise BundleError(path, f"the module is larger than {_MODULE_SIZE_MAX} characters")
    try:
        tree = parser.evaluate(orjson.dumps({"path": path, "source": source}))
    except EvaluationError as error:
        detail = error.detail.partition("rego.parse_module: ")[2] or error.detail
        raise BundleError(path, detail.strip()) from error
    if not isinstance(tree, Mapping):
        raise BundleError(path, "the module cannot be parsed")
    return tree
