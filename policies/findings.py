"""One look at everything a message says: personal data, secrets, phrases of injection.

All strings are read as one page, so that each pattern runs once a message. Further pages hold
what strings say once they are folded or decoded; what is found there spans the whole string, or
the whole encoded run. What stands over several strings is a finding in each of them.

Laws: the same content gives the same findings in the same order, whatever the order of members,
but for a phrase that is split over members side by side; a finding never carries what it found;
there are at most `FINDINGS_MAX` of each kind. Where more were seen, or where the scan gave up on a
text too tangled to be read in time, a finding called `overflow` of that kind says so; its `end`
counts what was left out, at least. A policy that refuses the kind refuses its overflow too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple

from policies.credentials import field_rule
from policies.decision import Finding
from policies.encoded import Decoder, has_escapes
from policies.gate import worth_trying
from policies.injection import disguised, hits, words_in
from policies.normalise import fold
from policies.texts import SEPARATOR, Pointers, Texts, collect

FINDINGS_MAX: Final = 64  # of each kind
OVERFLOW: Final = "overflow"
KINDS: Final = ("pii", "secret", "injection")

_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class _Seen(NamedTuple):
    """What a detector saw, and where on its page or in its string."""

    kind: str
    detector: str
    start: int
    end: int


def scan(content: Mapping[str, object]) -> tuple[Finding, ...]:
    """Return what every string of the content shows, at any depth, keys included."""
    texts = collect(content)
    report = _Report(texts)
    for index, name in enumerate(texts.names):
        rule = field_rule(name)
        if rule is not None and rule.is_one(texts.strings[index]):
            report.add(index, _Seen(rule.kind, rule.detector, 0, len(texts.strings[index])))
    page = _Page(texts.strings)
    for seen in _read(page, report):
        report.note(seen, page.places(seen))
    report.turn_page()
    decoder = Decoder()
    for pieces in (_folded(page), _decoded(page, decoder), _unescaped(page, decoder)):
        _read_again(pieces, report)
    if decoder.gave_up:
        report.leave_out(*KINDS)
    return report.findings()


class _Report:
    """What was seen so far, each thing once, and how much more there was."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._seen: dict[tuple[int, _Seen], None] = {}
        self._known: frozenset[tuple[int, str]] = frozenset()
        self._room = dict.fromkeys(KINDS, FINDINGS_MAX)
        self._left_out = dict.fromkeys(KINDS, 0)

    def add(self, index: int, seen: _Seen) -> None:
        """Note something in the string of this index, unless an earlier page showed it."""
        if (index, seen) in self._seen or (index, seen.detector) in self._known:
            return
        if self._room[seen.kind] == 0:
            self.leave_out(seen.kind)
            return
        self._room[seen.kind] -= 1
        self._seen[index, seen] = None

    def note(self, seen: _Seen, places: list[_Place]) -> None:
        """Note something in every string it stands in; a value and a key are not one text."""
        is_key = self._texts.is_key
        if is_key(places[0].index) is is_key(places[-1].index):
            for place in places:
                self.add(place.index, _Seen(seen.kind, seen.detector, place.start, place.end))

    def leave_out(self, *kinds: str) -> None:
        """Note that something of these kinds stays unread or unreported."""
        for kind in kinds:
            self._left_out[kind] += 1

    def is_full(self, kind: str) -> bool:
        """Say whether more of this kind would only be counted."""
        return self._room[kind] == 0

    def turn_page(self) -> None:
        """From here on, what a detector already saw in a string is not news."""
        self._known = frozenset((index, seen.detector) for index, seen in self._seen)

    def findings(self) -> tuple[Finding, ...]:
        """Return everything noted, sorted by where it stands."""
        hides_all = any(self._left_out.values())  # a key among what was left out must not show
        if not (self._seen or hides_all):
            return ()
        strings = self._texts.strings
        hidden = {strings[index] for index, _ in self._seen if self._texts.is_key(index)}
        pointers = Pointers(self._texts, lambda key: hides_all or key in hidden)
        found = [
            Finding(kind=kind, detector=detector, path=pointers.to(index), start=start, end=end)
            for index, (kind, detector, start, end) in self._seen
        ]
        found.sort(key=lambda one: (one.path, one.start, one.end, one.kind, one.detector))
        return (*found, *self._overflows())

    def _overflows(self) -> Iterator[Finding]:
        for kind, count in self._left_out.items():
            if count:
                yield Finding(kind=kind, detector=OVERFLOW, path="", start=0, end=count)


@dataclass(frozen=True, slots=True)
class _Place:
    """A span of one string."""

    index: int
    start: int
    end: int


class _Page:
    """Strings read as one text."""

    def __init__(self, strings: Sequence[str]) -> None:
        text = SEPARATOR.join(strings)
        if text.count(SEPARATOR) >= max(len(strings), 1):
            strings = [string.replace(SEPARATOR, " ") for string in strings]
            text = SEPARATOR.join(strings)
        self.strings = strings
        self.text = text

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(string) + 1 for string in self.strings)]

    def place(self, offset: int) -> tuple[int, int]:
        """The string that this offset of the page is in, and the offset in it."""
        index = bisect_right(self._starts, offset) - 1
        return index, offset - self._starts[index]

    def places(self, seen: _Seen) -> list[_Place]:
        """Each string that something seen stands in, with the span it has there."""
        first, start = self.place(seen.start)
        last, end = self.place(seen.end - 1)
        return [
            _Place(
                index,
                start if index == first else 0,
                end + 1 if index == last else len(self.strings[index]),
            )
            for index in range(first, last + 1)
            if self.strings[index]
        ]

    def whole(self, index: int) -> tuple[int, int]:
        """Where the string of this index stands on the page."""
        return self._starts[index], self._starts[index] + max(len(self.strings[index]), 1)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What the string of this index says at this span, read in another way."""

    text: str
    index: int
    start: int
    end: int


def _folded(page: _Page) -> Iterator[_Piece]:
    """The strings that are read otherwise than they are written."""
    if page.text.isascii():
        return
    for index, string in enumerate(page.strings):
        if not string.isascii():
            read = fold(string)
            if read != string:
                yield _Piece(read, index, 0, len(string))


def _decoded(page: _Page, decoder: Decoder) -> Iterator[_Piece]:
    for text, start, end in decoder.runs(page.text):
        index, own = page.place(start)
        yield _Piece(fold(text), index, own, own + end - start)


def _unescaped(page: _Page, decoder: Decoder) -> Iterator[_Piece]:
    if has_escapes(page.text):
        for index, string in enumerate(page.strings):
            for text, start, end in decoder.escapes(string):
                yield _Piece(fold(text), index, start, end)


def _read_again(said: Iterable[_Piece], report: _Report) -> None:
    pieces = list(said)
    if not pieces:
        return
    page = _Page([piece.text for piece in pieces])
    for seen in _read(page, report):
        read = [pieces[place.index] for place in page.places(seen)]
        report.note(seen, [_Place(piece.index, piece.start, piece.end) for piece in read])


def _lower(text: str) -> str:
    """Lower case, character for character: some letters have a longer one."""
    low = text.lower()
    return low if len(low) == len(text) else text.translate(_LOWER)


def _read(page: _Page, report: _Report) -> Iterator[_Seen]:
    """Yield what every detector sees on the page; a kind that is full is left out from there."""
    text, low = page.text, _lower(page.text)
    for detector in worth_trying(text, low):
        for span in detector.spans(text, low):
            if span is None:
                report.leave_out(detector.kind)
            elif report.is_full(detector.kind):
                report.leave_out(detector.kind)
                break
            else:
                yield _Seen(detector.kind, detector.name, *span)
    yield from _phrases(page, low, report)


def _phrases(page: _Page, low: str, report: _Report) -> Iterator[_Seen]:
    words, plain = words_in(low), set()
    for detector, start, end in hits(low, words):
        plain.add((detector, page.place(start)[0]))
        yield _Seen("injection", detector, start, end)
    found, gave_up = disguised(low, words)
    for detector, index in found:
        if (detector, index) not in plain:
            yield _Seen("injection", detector, *page.whole(index))
    if gave_up:
        report.leave_out("injection")
