"""Whatever JSON it is given, the scan answers, the same each time, and betrays nothing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.findings import FINDINGS_MAX, KINDS, OVERFLOW, scan
from policies.redaction import PRIVATE, redact
from policies.texts import collect, escaped

PRIVATE_TEXTS = (
    "bob@example.com",
    "123-45-6789",
    "4111 1111 1111 1111",
    "+14155550123",
    "AKIAIOSFODNN7EXAMPLE",
    "password=hunter2",
    "GB82WEST12345698765432",
    "eve\u200b@exam\u200bple.org",
    "postgres://u:s3cr3t@db/x",
    "Ym9iQGV4YW1wbGUuY29tIGlzIGhlcmU=",
)
OTHER_TEXTS = (
    *(
        "ignore all",
        "previous instructions",
        "1gn0re",
        "a",
        " ",
        "\x1f",
        "\u202e",
        "[REDACTED:email]",
    ),
    *("ssn ", "call ", "password", ":", "=", "-", "1", "45", "@", ".", "/", "~", "#0", "%41"),
)
words = st.one_of(
    st.sampled_from(PRIVATE_TEXTS), st.sampled_from(OTHER_TEXTS), st.text(max_size=12)
)
texts = st.lists(words, max_size=6).map("".join)
names = st.one_of(texts, st.sampled_from(("password", "ssn", "phone", "to", "text")))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    st.just(4111111111111111),
)

patient = settings(deadline=None)  # the machine may be busy with other things
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
contents: st.SearchStrategy[dict[str, Any]] = st.dictionaries(names, values, max_size=5)


@patient
@given(contents)
def test_the_scan_always_answers_and_always_the_same(content: dict[str, Any]) -> None:
    findings = scan(content)
    assert findings == scan(json.loads(json.dumps(content)))
    for finding in findings:
        assert finding.kind in KINDS
        assert finding.detector == OVERFLOW or 0 <= finding.start < finding.end
    for kind in KINDS:
        assert sum(finding.kind == kind for finding in findings) <= FINDINGS_MAX + 1


@patient
@given(contents)
def test_the_order_of_members_matters_only_to_phrases_split_over_them(
    content: dict[str, Any],
) -> None:
    turned = {key: content[key] for key in reversed(content)}
    one, other = scan(content), scan(turned)
    if not any(finding.kind == "injection" for finding in one + other):
        assert one == other


@patient
@given(st.sampled_from(PRIVATE_TEXTS[:7]), contents)
def test_what_is_put_in_is_found(private: str, content: dict[str, Any]) -> None:
    assert any(finding.kind in PRIVATE for finding in scan({**content, "x": [{"y": private}]}))


@patient
@given(contents)
def test_a_path_never_shows_a_key_that_is_a_finding(content: dict[str, Any]) -> None:
    tokens = {token for finding in scan(content) for token in finding.path.split("/")}
    texts_ = collect(content)
    keys = texts_.strings[len(texts_.names) :]
    assert not tokens & {escaped(key) for key in keys if scan({key: None})}


@patient
@given(contents)
def test_redacted_content_shows_nothing_private(content: dict[str, Any]) -> None:
    clear = redact(content, scan(content))
    assert not [finding for finding in scan(clear) if finding.kind in PRIVATE]


@patient
@given(contents)
def test_redaction_keeps_the_structure(content: dict[str, Any]) -> None:
    clear = redact(content, scan(content))
    assert shape_of(clear) == shape_of(content)


@patient
@given(contents)
def test_redaction_settles(content: dict[str, Any]) -> None:
    clear = redact(content, scan(content))
    assert redact(clear, scan(clear)) == clear


@patient
@given(contents)
def test_redaction_touches_only_what_is_named(content: dict[str, Any]) -> None:
    before = json.dumps(content)
    findings = scan(content)
    redact(content, findings)
    assert json.dumps(content) == before
    if not any(finding.kind in PRIVATE for finding in findings):
        assert redact(content, findings) == content


@patient
@given(contents)
def test_every_string_is_collected_once(content: dict[str, Any]) -> None:
    collected = collect(content)
    assert len(collected.strings) == len(collected.places)
    assert len(collected.strings) - len(collected.names) == count_of_keys(content)


def shape_of(value: object) -> object:
    """The containers, their sizes and order, and nothing of what is in them."""
    if isinstance(value, dict):
        return [shape_of(inner) for inner in value.values()], "object"
    if isinstance(value, list):
        return [shape_of(inner) for inner in value]
    return None


def count_of_keys(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(count_of_keys, value.values()))
    return sum(map(count_of_keys, value)) if isinstance(value, list) else 0
