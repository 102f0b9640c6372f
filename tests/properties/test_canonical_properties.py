"""The fast road gives the bytes of the reference implementation, or refuses what it refuses."""

from __future__ import annotations

import contextlib
import math

import orjson
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.ledger import entry, remember
from actors.ledger.canonical import canonical
from policies.errors import RefusalError

from builders import a_decision, a_finding, a_reason, an_impact, an_obligation

text = st.text(st.characters(codec="utf-8"))
wild_text = st.text()
numbers = st.one_of(
    st.integers(),
    st.integers(-(2**53) - 2, 2**53 + 2),
    st.floats(),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([0.0, -0.0, 1e21, 1e-7, 1e-6, 5e-324, 1.7976931348623157e308, 2.0**53]),
)


def values(strings: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    return st.recursive(
        st.one_of(st.none(), st.booleans(), numbers, strings),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(strings, inner, max_size=4)
        ),
        max_leaves=20,
    )


@given(values(wild_text))
@settings(max_examples=1500, deadline=None)
@example({"\U0001f600": 1, "\ufb33": 2, "a": 3})  # code points sort one way, UTF-16 the other
@example({"\u20ac": "Euro", "\r": "CR", "1": "One", "\u0080": "Control"})
@example([333333333.33333329, 1e30, 4.5, 2e-3, 1e-27])
@example(math.nan)
def test_canonical_is_the_reference_or_a_refusal(value: object) -> None:
    try:
        expected = rfc8785.dumps(value)  # type: ignore[arg-type]  # any JSON
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        expected = None
    ours = None
    with contextlib.suppress(RefusalError):
        ours = canonical(value)
    assert ours == expected


@given(values(text))
@settings(max_examples=500, deadline=None)
def test_canonical_is_stable_under_reading_back(value: object) -> None:
    with contextlib.suppress(RefusalError):
        once = canonical(value)
        assert canonical(orjson.loads(once)) == once


@given(
    st.builds(
        lambda words, score, properties: a_decision(
            action=words,
            resource=words,
            session_id=words or None,
            reasons=(a_reason(message=words), a_reason(remedy=words)),
            findings=(a_finding(path=words, start=3, end=9),),
            obligations=(an_obligation(properties=properties),),
            impact=an_impact(score, factors={words: score, "b": 1.0}),
        ),
        text,
        st.floats(0, 1),
        st.dictionaries(text, st.one_of(text, st.booleans(), st.integers(-9, 9)), max_size=4),
    )
)
@settings(max_examples=300, deadline=None)
def test_a_decision_comes_back_from_its_entry_equal_in_every_field(decision: object) -> None:
    record = entry.decision_fields(decision)  # type: ignore[arg-type]
    core = entry.decision_core(record)
    assert core == rfc8785.dumps(record)  # type: ignore[arg-type]
    body = entry.decision_body(core, evidence=b"null", identity="ab")
    data = entry.seal(body, "12-3")
    assert data == rfc8785.dumps(orjson.loads(data)), "the entry is canonical as a whole"
    found = entry.open_entry(data)
    assert entry.decision_from(found.body["decision"]) == decision
    assert found.wal_id == "12-3"
    kept = remember.unpack(b"12-3\n" + remember.pack("ab", core) + b"\nleaf= 7\nleaf= 7")
    assert (kept.core, kept.identity, kept.leaf_index) == (core, "ab", 7)
    assert remember.unpack(b"1-1\n" + remember.pack("ab", core)).leaf_hash == ""
