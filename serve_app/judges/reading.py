"""What the policy answered, read strictly. The one place that knows the shape of `decision`.

    {"allow": bool,
     "verdicts": [{"rule", "effect": "allow" | "review" | "deny", "code", "message", "remedy"}],
     "obligations": [{"id", "type", "properties": {...}}]}

All fields are there, and no others: a misspelt obligation would be a duty that nobody does.
Laws of this file:
1. Whatever is not exactly this denies, and the code says what was wrong.
2. `allow: false` never permits: it denies, unless its verdicts hold the message for review and
   none of them denies. `allow: true` cannot stand beside a denial, and a review outweighs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from policies.decision import Effect, Obligation, Verdict
from policies.errors import GovernanceError

RULE: Final = "acgs.governance.decision"
VERDICTS_MAX: Final = 256
OBLIGATIONS_MAX: Final = 64

_FIELDS: Final = frozenset({"allow", "verdicts", "obligations"})
_VERDICT: Final = frozenset({"rule", "effect", "code", "message", "remedy"})
_OBLIGATION: Final = frozenset({"id", "type", "properties"})
_EFFECTS: Final[Mapping[str, Effect]] = {effect.value: effect for effect in Effect}


class UnreadableError(GovernanceError):
    """The policy's answer is not one, for the reason that the code names."""

    status = 503

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class Reading:
    """The verdicts and obligations of a well-formed answer."""

    verdicts: tuple[Verdict, ...]
    obligations: tuple[Obligation, ...]


# A policy that allows and says no more has still spoken; the bus takes no verdict for silence.
PERMITTED: Final = Verdict(
    rule=RULE,
    effect=Effect.ALLOW,
    code="policy.permitted",
    message="the policy allows this, and no rule objects",
    remedy="",
)
_UNEXPLAINED: Final = Verdict(
    rule=RULE,
    effect=Effect.DENY,
    code="policy.denied_without_reason",
    message="the policy denies this, and none of its rules says why",
    remedy="ask a policy author to give every denial a verdict with a code and a remedy",
)
_NOT_ALLOWED: Final = Verdict(
    rule=RULE,
    effect=Effect.DENY,
    code="policy.not_allowed",
    message="the policy does not allow this, though none of its verdicts denies it",
    remedy="ask a policy author to add the denial or the review that is meant",
)


def read(value: object) -> Reading:
    """Return what the policy said. Raises UnreadableError."""
    answer = _mapping(value, _FIELDS, "the decision", malformed="policy.malformed")
    allow = answer["allow"]
    if not isinstance(allow, bool):
        raise UnreadableError("policy.wrong_type", "allow must be a boolean")
    verdicts = tuple(map(_verdict, _list(answer["verdicts"], "verdicts", VERDICTS_MAX)))
    obligations = tuple(
        map(_obligation, _list(answer["obligations"], "obligations", OBLIGATIONS_MAX))
    )
    denied = any(verdict.effect is Effect.DENY for verdict in verdicts)
    if allow and denied:
        raise UnreadableError("policy.contradiction", "allow is true, and a verdict denies")
    held = any(verdict.effect is Effect.REVIEW for verdict in verdicts)
    if not allow and not denied and not held:
        verdicts = (*verdicts, _NOT_ALLOWED if verdicts else _UNEXPLAINED)
    return Reading(verdicts or (PERMITTED,), obligations)


def _verdict(value: object) -> Verdict:
    fields = _mapping(value, _VERDICT, "a verdict")
    effect = _EFFECTS.get(_text(fields, "effect"))
    if effect is None:
        raise UnreadableError("policy.unknown_effect", "a verdict's effect is none that we know")
    return Verdict(
        rule=_name(fields, "rule"),
        effect=effect,
        code=_name(fields, "code"),
        message=_text(fields, "message"),
        remedy=_text(fields, "remedy"),
    )


def _obligation(value: object) -> Obligation:
    fields = _mapping(value, _OBLIGATION, "an obligation")
    properties = fields["properties"]
    if not isinstance(properties, dict):
        raise UnreadableError("policy.wrong_type", "properties must be an object")
    return Obligation(id=_name(fields, "id"), type=_name(fields, "type"), properties=properties)


def _mapping(
    value: object, wanted: frozenset[str], what: str, *, malformed: str = "policy.wrong_type"
) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise UnreadableError(malformed, f"{what} must be an object")
    missing = wanted - value.keys()
    if missing:
        raise UnreadableError("policy.missing_field", f"{what} has no {min(missing)}")
    if len(value) > len(wanted):
        raise UnreadableError("policy.unknown_field", f"{what} has fields that nobody reads")
    return cast("Mapping[str, object]", value)


def _list(value: object, what: str, count_max: int) -> Sequence[object]:
    if not isinstance(value, list):
        raise UnreadableError("policy.wrong_type", f"{what} must be an array")
    if len(value) > count_max:
        raise UnreadableError("policy.malformed", f"there are over {count_max} {what}")
    return value


def _name(fields: Mapping[str, object], field: str) -> str:
    text = _text(fields, field)
    if not text:
        raise UnreadableError("policy.missing_field", f"{field} is empty")
    return text


def _text(fields: Mapping[str, object], field: str) -> str:
    text = fields[field]
    if not isinstance(text, str):
        raise UnreadableError("policy.wrong_type", f"{field} must be a string")
    return text
