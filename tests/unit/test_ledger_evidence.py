"""Evidence opens with its subject's key, in its own place, and in no other way."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from actors.ledger import checkpoint as notes
from actors.ledger.canonical import canonical, digest
from actors.ledger.entry import (
    BODY_MAX,
    EntryError,
    Kind,
    decision_body,
    decision_core,
    decision_fields,
    decision_from,
    open_entry,
    other_body,
    seal,
)
from actors.ledger.evidence import (
    INLINE_MAX,
    EvidenceError,
    Place,
    open_evidence,
    seal_evidence,
    unwrap,
    wrap,
)
from actors.ledger.overflow import fit, unfit
from actors.ledger.store import blob_path
from policies.errors import RefusalError

from builders import a_decision, a_finding

KEY, NONCE = bytes([1]) * 32, bytes([2]) * 12
PLACE = Place("acme", "writer", "decision-1")


@pytest.mark.parametrize("size", [0, 1, INLINE_MAX - 16, INLINE_MAX - 15, 1_000_000])
def test_evidence_comes_back_from_the_entry_or_from_beside_it(size: int) -> None:
    content = b"x" * size
    sealed = seal_evidence(content, place=PLACE, key=KEY, nonce=NONCE, room=BODY_MAX)
    record = orjson.loads(sealed.record)
    assert sealed.record == canonical(record)
    assert bool(sealed.outside) == (size > INLINE_MAX - 16)
    assert open_evidence(record, place=PLACE, key=KEY, outside=sealed.outside) == content


@pytest.mark.parametrize(
    "change",
    [
        {"place": Place("globex", "writer", "decision-1")},
        {"place": Place("acme", "reader", "decision-1")},
        {"place": Place("acme", "writer", "decision-2")},
        {"key": bytes(32)},
    ],
)
def test_evidence_does_not_open_in_another_place_or_with_another_key(
    change: dict[str, object],
) -> None:
    sealed = seal_evidence(b"content", place=PLACE, key=KEY, nonce=NONCE)
    with pytest.raises(EvidenceError):
        open_evidence(orjson.loads(sealed.record), **{"place": PLACE, "key": KEY, **change})  # type: ignore[arg-type]


def test_altered_or_missing_ciphertext_does_not_open() -> None:
    sealed = seal_evidence(b"x" * 40_000, place=PLACE, key=KEY, nonce=NONCE)
    record = orjson.loads(sealed.record)
    for outside in (None, b"", sealed.outside[:-1], b"y" + sealed.outside[1:]):
        with pytest.raises(EvidenceError):
            open_evidence(record, place=PLACE, key=KEY, outside=outside)
    with pytest.raises(EvidenceError):
        open_evidence({"nonce": "!"}, place=PLACE, key=KEY)


def test_a_wrapped_key_opens_for_its_own_subject_only() -> None:
    wrapped = wrap(KEY, evidence_key=bytes(32), tenant="acme", subject="writer", nonce=NONCE)
    assert KEY not in wrapped
    assert unwrap(wrapped, evidence_key=bytes(32), tenant="acme", subject="writer") == KEY
    for tenant, subject in (("acme", "reader"), ("globex", "writer")):
        with pytest.raises(EvidenceError):
            unwrap(wrapped, evidence_key=bytes(32), tenant=tenant, subject=subject)
    with pytest.raises(EvidenceError):
        unwrap(b"", evidence_key=bytes(32), tenant="acme", subject="writer")


def test_a_decision_of_any_size_fits_an_entry_and_comes_back_whole() -> None:
    for count in (0, 10, 500, 5_000):
        findings = tuple(a_finding(path=f"/text/{n}") for n in range(count))
        decision = replace(a_decision(action="a" * count * 20), findings=findings)
        record = decision_fields(decision)
        fitted = fit(record, decision_core(record))
        body = decision_body(fitted.inside, evidence=b"null", identity="ab", overflow=fitted.record)
        assert len(body) <= BODY_MAX
        found = open_entry(seal(body, "1-1"))
        assert decision_from(unfit(found.body, fitted.outside or None)) == decision
        if fitted.outside:
            with pytest.raises(EntryError):
                unfit(found.body, None)
            with pytest.raises(EntryError):
                unfit(found.body, b"{}")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"body":{},"wal_id":"1-1"}', b'{"body":{"kind":"x","v":1},"wal_id":""}'],
)
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(EntryError):
        open_entry(data)


def test_an_entry_of_another_version_is_refused() -> None:
    data = seal(other_body(Kind.REFUSAL, {}).replace(b'"v":1', b'"v":2'), "1-1")
    with pytest.raises(EntryError, match="version"):
        open_entry(data)
    with pytest.raises(EntryError):
        decision_from({})


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (2**53, "content.number_out_of_range"),
        ({"a": [-(2**53)]}, "content.number_out_of_range"),
        (float("nan"), "content.number_out_of_range"),
        ([float("inf")], "content.number_out_of_range"),
        ("\ud800", "content.invalid_unicode"),
        ({"\udfff": 1}, "content.invalid_unicode"),
        ({"é": {1, 2}}, "content.not_json"),
        (b"bytes", "content.not_json"),
        ({1: 2}, "content.not_json"),
    ],
)
def test_what_has_no_canonical_form_is_refused_with_its_reason(value: object, code: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        digest(value)
    assert refusal.value.code == code


def test_nesting_has_a_bound_on_either_road() -> None:
    for leaf in ("x", {"é": 1}):
        value: object = leaf
        for _ in range(5000):
            value = [value]
        with pytest.raises(RefusalError) as refusal:
            canonical(value)
        assert refusal.value.code == "content.too_deep"


def test_the_examples_of_rfc_8785_come_out_byte_for_byte() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],'
        '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@pytest.mark.parametrize("digest_", ["", "sha256:", "sha256:../../etc", "sha256:" + "g" * 64])
def test_only_a_digest_names_a_file_beside_the_entries(digest_: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        blob_path(digest_)


def test_a_verifier_key_reads_back_and_nothing_else_is_one() -> None:
    key = notes.Signer("bus.example", bytes(32)).verifier
    assert notes.parse_key(str(key)) == key
    text = str(key)
    for wrong in ("", "a", text[1:], text.replace("+", "-"), text[:-4] + "AAA=", text + "A"):
        with pytest.raises(ValueError, match="verifier key"):
            notes.parse_key(wrong)
    assert "seed" not in repr(notes.Signer("bus.example", bytes(32)))
