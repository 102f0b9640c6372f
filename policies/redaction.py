"""Content with what is private taken out of it, fit to be shown.

Laws: the structure stays, every list as long and every object with as many members as it was;
a string that was touched shows nothing private to another scan; what cannot be cleaned with
certainty is taken out whole. Phrases of injection stay: they are what people must judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from policies.decision import Finding
from policies.findings import OVERFLOW, scan
from policies.texts import Branch as Source
from policies.texts import members_of, ranks, text_of, unescaped

PRIVATE: Final = frozenset({"pii", "secret"})
ROUNDS_MAX: Final = 4  # what a replacement uncovers is taken out too, so often, and then all

_KEY_ITSELF: Final = re.compile(r"#[0-9]+#")

Span = tuple[int, int, str]  # start, end, detector
Branch = dict[Any, object] | list[object]


def redact(content: Mapping[str, object], findings: Iterable[Finding]) -> dict[str, object]:
    """Return a copy in which the text of each finding is `[REDACTED:<detector>]`, keys included.

    Only what the findings name is touched, unless one of them is an overflow: then every string
    is looked at by itself. Two keys that become equal are told apart by a number.
    """
    spans: dict[str, list[Span]] = {}
    for finding in findings:
        if finding.kind in PRIVATE:
            span = finding.start, finding.end, finding.detector
            spans.setdefault(finding.path, []).append(span)
    if any(detector == OVERFLOW for _, _, detector in spans.get("", ())):
        return _all_cleaned(content)
    redaction = _Redaction(content)
    for path, found in spans.items():
        redaction.take_out(path, found)
    return redaction.finished()


def cleaned(text: str, spans: Iterable[Span], *, name: str = "") -> str:
    """Return the text without these spans, and without what it still shows once they are gone.

    `name` is the nearest key above the text, which may tell what it is.
    """
    found, detector = sorted(spans), OVERFLOW
    for _ in range(ROUNDS_MAX):
        text = _cut(text, found)
        found = _shown(text, name)
        if not found:
            return text
        detector = found[0][2]
        if any(one == OVERFLOW for _, _, one in found):
            break
    return _mark(detector)


def _shown(text: str, name: str) -> list[Span]:
    """What is private in the text by itself, under its name."""
    return sorted(
        (finding.start, finding.end, finding.detector)
        for finding in scan({name: text})
        if finding.kind in PRIVATE and not _KEY_ITSELF.fullmatch(finding.path[1:])
    )


def _mark(detector: str) -> str:
    return f"[REDACTED:{detector}]"


def _cut(text: str, spans: Iterable[Span]) -> str:
    """Replace the spans, in order; one that begins inside another makes it longer."""
    parts: list[str] = []
    reached = 0
    for start, end, detector in spans:
        if start >= reached:
            parts += (text[reached:start], _mark(detector))
        reached = max(reached, end)
    return "".join((*parts, text[reached:]))


class _Redaction:
    """A copy of some content, made only along the ways to what is taken out of it."""

    def __init__(self, content: Mapping[str, object]) -> None:
        self._root: dict[str, object] = dict(content)
        self._copies: set[int] = {id(self._root)}
        self._keys: dict[int, dict[str, str]] = {}
        self._renamed: list[tuple[dict[str, object], dict[str, str]]] = []

    def take_out(self, path: str, spans: Iterable[Span]) -> None:
        """Replace the spans of the string at this path; a path that leads nowhere is let be."""
        *way, last = path.split("/")[1:] or [""]
        branch: Branch | None = self._root
        name = ""
        for token in way:
            name = self._name(branch, token, name)
            branch = self._child(branch, token)
        if isinstance(branch, dict) and _KEY_ITSELF.fullmatch(last):
            key = self._place(branch, last[:-1])
            if key is not None:
                self._renamed.append((branch, {key: cleaned(key, spans)}))
            return
        place = self._place(branch, last)
        text = None if branch is None or place is None else text_of(branch[place])
        if branch is not None and text is not None:
            branch[place] = cleaned(text, spans, name=self._name(branch, last, name))

    def finished(self) -> dict[str, object]:
        """Return the copy; keys change at the end, for paths are told by them."""
        for branch, names in self._renamed:
            members = list(branch.items())
            branch.clear()
            for key, value in members:
                branch[_unused(names.get(key, key), branch)] = value
        return self._root

    def _child(self, branch: Branch | None, token: str) -> Branch | None:
        """The object or list at this token, copied once into the copy."""
        place = self._place(branch, token)
        if branch is None or place is None:
            return None
        child = branch[place]
        if id(child) in self._copies:
            return child  # type: ignore[return-value]  # only objects and lists are copied
        copy: Branch
        if isinstance(child, Mapping):
            copy = dict(child)
        elif isinstance(child, list | tuple):
            copy = list(child)
        else:
            return None
        branch[place] = copy
        self._copies.add(id(copy))
        return copy

    def _place(self, branch: Branch | None, token: str) -> Any:
        """The key or index that a token names in this branch, or None."""
        if isinstance(branch, dict):
            key = self._ranked(branch).get(token) if token.startswith("#") else unescaped(token)
            return key if key in branch else None
        if branch is not None and token.isdecimal() and int(token) < len(branch):
            return int(token)
        return None

    def _name(self, branch: Branch | None, token: str, above: str) -> str:
        """The nearest key at or above this token."""
        return str(self._place(branch, token)) if isinstance(branch, dict) else above

    def _ranked(self, branch: dict[str, object]) -> dict[str, str]:
        if id(branch) not in self._keys:
            self._keys[id(branch)] = {rank: key for key, rank in ranks(branch).items()}
        return self._keys[id(branch)]


def _unused(key: str, branch: Mapping[str, object]) -> str:
    """The key, or, where the branch has it, the same with a number."""
    number, free = len(branch) + 1, key
    while free in branch:
        free = f"{key} {number}"
        number += 1
    return free


def _all_cleaned(content: Mapping[str, object]) -> dict[str, object]:
    """Every string looked at by itself; and nothing legible, where even that leaves something."""
    apart = _rebuilt(content, _cleaned_alone)
    if any(finding.kind in PRIVATE for finding in scan(apart)):
        return _rebuilt(content, lambda _name, _text: _mark(OVERFLOW))
    return apart


def _cleaned_alone(name: str, text: str) -> str:
    shown = _shown(text, name)
    is_legible = all(detector != OVERFLOW for _, _, detector in shown)
    return cleaned(text, shown, name=name) if is_legible else _mark(OVERFLOW)


def _rebuilt(content: Mapping[str, object], clean: Callable[[str, str], str]) -> dict[str, object]:
    """The content with every string cleaned, given the name it stands under; a key has none."""
    root: dict[str, object] = {}
    waiting: list[tuple[Source, Branch, str]] = [(content, root, "")]
    for source, copy, above in waiting:  # grows while it is read
        for token, value in members_of(source):
            name = token if isinstance(token, str) else above
            kept, text = value, text_of(value)
            if text is not None:
                clear = clean(name, text)
                kept = value if clear == text else clear
            elif isinstance(value, Mapping | list | tuple):
                kept = inner = _empty(value)
                waiting.append((value, inner, name))
            if isinstance(copy, list):
                copy.append(kept)
            else:
                copy[_unused(clean("", name), copy)] = kept
    return root


def _empty(branch: Source) -> Branch:
    return {} if isinstance(branch, Mapping) else []
