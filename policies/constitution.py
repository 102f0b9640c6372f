"""The constitution as a value: the principles, the rules that enforce them, and the thresholds.

Laws of this file:
1. A constitution that is not understood to the last key is refused, with the place and the cure.
2. A principle that no rule enforces is a wish, and is refused; so is a rule that nobody named.
3. The hash names a constitution and the digest binds its text; neither stands for the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final, Self

from policies.errors import GovernanceError
from policies.impact import ImpactTable
from policies.review_law import ReviewLaw
from policies.settlement import SettlementLaw

_KEYS: Final = (
    "constitutional_hash",
    "version",
    "principles",
    "impact",
    "settlement",
    "reviews",
)
_PRINCIPLE_KEYS: Final = ("id", "title", "text", "enforced_by")
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+\Z")
_ID: Final = re.compile(r"P(\d+)(-[a-z]+)+\Z")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_PACKAGE: Final = re.compile(r"^package (acgs\.\w+)$", re.MULTILINE)
_RULE: Final = re.compile(r"^(?:verdicts|obligations)\.(\w+) :=", re.MULTILINE)


class ConstitutionError(GovernanceError):
    """The document is not a constitution that this build can live under."""

    code = "constitution.refused"

    def __init__(self, place: str, detail: str) -> None:
        super().__init__(place, detail)
        self.place = place
        self.detail = detail

    def __str__(self) -> str:
        return f"the constitution is refused: {self.place} {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principle:
    """One article: what must hold, and the rules of the policy that see to it."""

    id: str
    title: str
    text: str
    enforced_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Constitution:
    """The law in force.

    `digest` is `sha256:<hex>` of the document's bytes. `impact` and `settlement` are the sections
    as they stand, already known to be sound: `ImpactTable`, `SettlementLaw` and
    `ReviewLaw` read them.
    """

    constitutional_hash: str
    version: str
    digest: str
    principles: tuple[Principle, ...]
    impact: Mapping[str, object]
    settlement: Mapping[str, object]
    reviews: Mapping[str, object]

    def principle_of(self, rule: str) -> Principle | None:
        """Return the principle that this rule enforces; None for what is no rule of the policy."""
        return next((one for one in self.principles if rule in one.enforced_by), None)

    @classmethod
    def from_mapping(
        cls,
        document: object,
        *,
        digest: str,
        constitutional_hash: str,
        rules: Collection[str] | None,
    ) -> Self:
        """Read a document. Raises ConstitutionError.

        `constitutional_hash` is the one that this build enforces, `rules` are the names of the
        rules that the policy has; None when there is no policy to compare with.
        """
        fields = _fields(document, _KEYS, "the document")
        _require_hash(fields["constitutional_hash"], constitutional_hash)
        if not _DIGEST.match(digest):
            raise ConstitutionError("digest", f"must be sha256:<hex>, not {digest!r}")
        constitution = cls(
            constitutional_hash=constitutional_hash,
            version=_matching(fields["version"], "version", pattern=_VERSION, example="1.2.3"),
            digest=digest,
            principles=_principles(fields["principles"]),
            impact=_section(fields["impact"], ImpactTable.from_mapping, "impact"),
            settlement=_section(fields["settlement"], SettlementLaw.from_mapping, "settlement"),
            reviews=_section(fields["reviews"], ReviewLaw.from_mapping, "reviews"),
        )
        if rules is not None:
            _require_enforced(constitution.principles, rules)
        return constitution


def rules_in(sources: Iterable[str]) -> frozenset[str]:
    """Return the name of every rule in these Rego modules: its package, then its own name.

    Rules are the heads `verdicts.<name>` and `obligations.<name>`; tests compare this reading
    with OPA's own.
    """
    return frozenset(name for source in sources for name in _rules_of(source))


def _rules_of(source: str) -> Iterator[str]:
    package = _PACKAGE.search(source)
    if package is not None:
        yield from (f"{package[1]}.{name}" for name in _RULE.findall(source))


def _require_hash(found: object, expected: str) -> None:
    if found != expected:
        raise ConstitutionError(
            "constitutional_hash",
            f"is {found!r}, but this build enforces {expected!r}; deploy the build that it names",
        )


def _principles(value: object) -> tuple[Principle, ...]:
    listed = _listed(value, "principles")
    principles = tuple(
        _principle(item, f"principles[{number}]") for number, item in enumerate(listed)
    )
    for number, principle in enumerate(principles, start=1):
        if not principle.id.startswith(f"P{number}-"):
            raise ConstitutionError(
                f"principles[{number - 1}].id",
                f"must begin with P{number}- because principles are numbered in order, "
                f"not {principle.id!r}",
            )
    twice = _repeated(rule for principle in principles for rule in principle.enforced_by)
    if twice:
        raise ConstitutionError("principles", f"name these rules more than once: {twice}")
    return principles


def _principle(value: object, place: str) -> Principle:
    fields = _fields(value, _PRINCIPLE_KEYS, place)
    return Principle(
        id=_matching(fields["id"], f"{place}.id", pattern=_ID, example="P1-authenticity"),
        title=_text(fields["title"], f"{place}.title"),
        text=_text(fields["text"], f"{place}.text"),
        enforced_by=tuple(
            _text(rule, f"{place}.enforced_by")
            for rule in _listed(fields["enforced_by"], f"{place}.enforced_by")
        ),
    )


def _require_enforced(principles: Sequence[Principle], rules: Collection[str]) -> None:
    named = {rule: principle.id for principle in principles for rule in principle.enforced_by}
    for rule, principle in named.items():
        if rule not in rules:
            raise ConstitutionError(
                principle, f"names the rule {rule!r}, which the policy does not have"
            )
    unnamed = sorted(set(rules) - named.keys())
    if unnamed:
        raise ConstitutionError(
            "principles", f"name none of these rules of the policy: {', '.join(unnamed)}"
        )


def _section(value: object, reader: Callable[[object], object], place: str) -> Mapping[str, object]:
    """Return a copy of the section, once whoever will read it has understood it."""
    if not isinstance(value, Mapping):
        raise ConstitutionError(place, f"must be a mapping, not {value!r}")
    try:
        reader(value)
    except ValueError as error:
        raise ConstitutionError(place, f"is not understood: {error}") from error
    return deepcopy(dict(value))


def _fields(value: object, keys: Sequence[str], place: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConstitutionError(place, f"must be a mapping, not {value!r}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ConstitutionError(place, f"has no {', '.join(missing)}")
    unknown = sorted(str(key) for key in value if key not in keys)
    if unknown:
        raise ConstitutionError(
            place, f"has keys that this build does not know: {', '.join(unknown)}"
        )
    return value


def _listed(value: object, place: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConstitutionError(place, f"must be a list with something in it, not {value!r}")
    return value


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConstitutionError(place, f"must be a text, not {value!r}")
    return value.strip()


def _matching(value: object, place: str, *, pattern: re.Pattern[str], example: str) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        raise ConstitutionError(place, f"must look like {example}, not {value!r}")
    return value


def _repeated(names: Iterable[str]) -> str:
    counts = Counter(names)
    return ", ".join(sorted(name for name, count in counts.items() if count > 1))
