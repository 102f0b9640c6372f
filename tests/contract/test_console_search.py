"""Searching the decisions of a real ledger: every word, within a bound that is said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contract.test_ledger_reader import a_reader
from contract.test_ledger_road import a_pair, a_recorder, a_sequencer, put, settle

from actors.ledger.reader import LedgerReader
from policies.decision import Decision, Effect
from policies.errors import RefusalError
from policies.message import Message
from serve_app.console.search import LOOKS_MAX, PAGE, WORDS_MAX, Found, Wanted, search, words_of

from builders import NOW, a_reason

if TYPE_CHECKING:
    from contract.conftest import Valkey

RARE = replace(a_reason(), code="policy.tool_held")


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    return own_valkey


Pair = tuple[Decision, Message]
Story = Callable[[LedgerReader, list[Decision]], Awaitable[None]]


def pairs_of(changes: Sequence[dict[str, object]]) -> list[Pair]:
    """A decision and its message for each of the changes, a second apart."""
    pairs = []
    for number, change in enumerate(changes):
        decision, message = a_pair("acme")
        at = NOW + timedelta(seconds=number)
        pairs.append((replace(decision, decided_at=at, **change), message))
    return pairs


def told(valkey: Valkey, folder: Path, pairs: Sequence[Pair], *, story: Story) -> None:
    """Record the decisions, the first one first, and tell a story about the reader of them."""

    async def tell() -> None:
        async with valkey.store() as store, a_sequencer(store, folder) as sequencer:
            recorder = a_recorder(store)
            for pair in pairs:
                await put(recorder, *pair)
            while sum(status.size for status in sequencer.status().values()) < len(pairs):
                await settle(sequencer)
            reader = a_reader(folder)
            try:
                await story(reader, [decision for decision, _ in pairs])
            finally:
                await reader.close()

    asyncio.run(tell())


async def found(
    reader: LedgerReader,
    text: str,
    *,
    cursor: str | None = None,
    looks_max: int = LOOKS_MAX,
    **more: object,
) -> Found:
    wanted = Wanted(words=words_of(text), **more)  # type: ignore[arg-type]
    return await search(reader, "acme", wanted, cursor=cursor, looks_max=looks_max)


def ids(result: Found) -> list[str]:
    return [decision.decision_id for decision, _ in result.decisions]


def test_every_word_must_be_found_somewhere(valkey: Valkey, tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [
        {"tool": "file.delete", "effect": Effect.REVIEW, "reasons": (RARE,)},
        {"tool": "file.read"},
        {"tool": "file.delete", "action": "purge", "agent": "janitor"},
    ]

    async def story(reader: LedgerReader, all_: list[Decision]) -> None:
        names = [decision.decision_id for decision in all_]
        for text, wanted in (
            ("file", [2, 1, 0]),
            ("FILE.Delete", [2, 0]),
            ("delete janitor", [2]),
            ("delete held", [0]),
            ("tool_held", [0]),
            ("  purge\t", [2]),
            ("janitor read", []),
            (names[1], [1]),
            (names[1].upper(), [1]),
            (all_[0].message_id[:30], [0]),
            (names[1][5:], []),  # not the beginning of an id
            ("%", []),
            ("'; DROP TABLE leaf --", []),
        ):
            result = await found(reader, text)
            assert ids(result) == [names[number] for number in wanted], text
            assert (result.looked, result.next_cursor) == (3, None)
        assert ids(await found(reader, "delete", effect=Effect.REVIEW)) == [names[0]]
        assert ids(await found(reader, "delete", agent="janitor")) == [names[2]]

    told(valkey, tmp_path, pairs_of(changes), story=story)


def test_a_page_looks_at_so_many_and_the_next_goes_on_where_it_stopped(
    valkey: Valkey, tmp_path: Path
) -> None:
    changes: list[dict[str, object]] = [{} for _ in range(230)]
    changes[3] = changes[120] = {"tool": "file.delete"}

    async def story(reader: LedgerReader, all_: list[Decision]) -> None:
        first = await found(reader, "file.delete", looks_max=100)
        assert (ids(first), first.looked) == ([], 100)
        assert first.oldest is not None
        assert first.oldest.decision_id == all_[130].decision_id
        second = await found(reader, "file.delete", cursor=first.next_cursor, looks_max=100)
        assert (ids(second), second.looked) == ([all_[120].decision_id], 100)
        third = await found(reader, "file.delete", cursor=second.next_cursor, looks_max=100)
        assert (ids(third), third.looked, third.next_cursor) == ([all_[3].decision_id], 30, None)
        # Whoever knows an id need not look for it.
        [named, *_] = ids(await found(reader, all_[3].message_id, looks_max=100))
        assert named == all_[3].decision_id
        assert ids(await found(reader, all_[3].message_id, effect=Effect.DENY)) == []
        with pytest.raises(RefusalError, match="cursor"):
            await found(reader, "x", cursor="nonsense")

    told(valkey, tmp_path, pairs_of(changes), story=story)


def test_a_full_page_stops_and_repeats_nothing(valkey: Valkey, tmp_path: Path) -> None:
    async def story(reader: LedgerReader, all_: list[Decision]) -> None:
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await found(reader, "email", cursor=cursor)
            seen += ids(page)
            cursor = page.next_cursor
            if cursor is None:
                break
            assert PAGE <= len(page.decisions) < 2 * PAGE
        assert seen == [decision.decision_id for decision in reversed(all_)]

    told(valkey, tmp_path, pairs_of([{}] * 130), story=story)


def test_the_release_of_a_review_is_found_by_its_id(valkey: Valkey, tmp_path: Path) -> None:
    [(held, message)] = pairs_of([{"effect": Effect.REVIEW}])
    released = replace(held, decision_id="d-2", effect=Effect.ALLOW, review_id=held.decision_id)

    async def story(reader: LedgerReader, _: list[Decision]) -> None:
        assert set(ids(await found(reader, held.decision_id))) == {held.decision_id, "d-2"}
        assert ids(await found(reader, held.decision_id, effect=Effect.ALLOW)) == ["d-2"]

    told(valkey, tmp_path, [(held, message), (released, message)], story=story)


def test_words_are_bounded() -> None:
    assert len(words_of("a " * 100)) == WORDS_MAX
    assert words_of("  ") == ()
