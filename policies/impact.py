"""How much could go wrong, told from the structure of a message and what its agent did before.

The score is the weighted mean of the factors that exist, from 0 to 1, to four places, so that
0.3 + 0.4 + 0.1 is 0.8. Each factor is from 0 to 1 and its table stands in the constitution:

permission  what the words of the tool's name and of the action may do; the riskiest word counts
volume      how many messages the agent sent in the last window, this one included
context     the hour in UTC, and the largest amount under a money-like key at any depth
drift       how far this message is from the mean of the agent's last twenty
priority    as the sender set it; the most urgent lifts the score to a floor of its own
type        what kind of message it is
semantic    what a model read in it; absent until one did, and then it can only raise the score
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import fsum
from typing import Final, Self

from policies.clause import Clause
from policies.decision import Impact
from policies.message import Message, Priority
from policies.wording import NAME_MAX, amount_of, words_of

DRIFT_WINDOW: Final = 20  # messages an agent is compared with
HISTORIES_MAX: Final = 10_000  # agents remembered by one replica
FACTORS: Final = ("permission", "volume", "context", "drift", "priority", "type", "semantic")
_PLACES: Final = 4
_MICRO: Final = 1_000_000  # the drift window is summed in whole millionths: no error creeps in


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactTable:
    """The weights and levels of every factor, as the constitution's `impact:` gives them."""

    weights: Mapping[str, float]
    unnamed_tool: float
    other_tool: float
    tool_words: Mapping[str, float]
    volume_window_s: float
    volume_steps: tuple[tuple[float, float], ...]
    volume_above: float
    context_base: float
    night: tuple[float, float]
    night_adds: float
    amount_words: frozenset[str]
    amount_over: float
    amount_adds: float
    drift_tolerance: float
    drift_slope: float
    priorities: Mapping[str, float]
    types: Mapping[str, float]
    other_type: float
    urgent_floor: float
    semantic_over: float
    semantic_floor: float

    @classmethod
    def from_mapping(cls, section: object) -> Self:
        """Read the constitution's `impact:`. Raises ValueError for a table that is none."""
        law = Clause(section, "impact")
        parts = {name: law.part(name) for name in (*_SECTIONS, "boost")}
        weights = {name: parts["weights"].number(name, 0, 1) for name in FACTORS}
        if not fsum(weights.values()) - weights["semantic"] > 0:
            raise ValueError("impact.weights must give weight to something other than semantic")
        permission, volume, context = parts["permission"], parts["volume"], parts["context"]
        words, night, amount = (
            permission.part("words"),
            context.part("night"),
            context.part("amount"),
        )
        drift, types, boost = parts["drift"], parts["type"], parts["boost"]
        table = cls(
            weights=weights,
            unnamed_tool=permission.number("none", 0, 1),
            other_tool=permission.number("other", 0, 1),
            tool_words=words.numbers(0, 1),
            volume_window_s=volume.number("window_s", 1, 86_400),
            volume_steps=volume.steps("steps"),
            volume_above=volume.number("above", 0, 1),
            context_base=context.number("base", 0, 1),
            night=(night.number("from_hour", 0, 23), night.number("to_hour", 0, 23)),
            night_adds=night.number("adds", 0, 1),
            amount_words=amount.words("words"),
            amount_over=amount.number("over", 0, 1e15),
            amount_adds=amount.number("adds", 0, 1),
            drift_tolerance=drift.number("tolerance", 0.01, 1),
            drift_slope=drift.number("slope", 0, 1),
            priorities={
                level.word: parts["priority"].number(level.word, 0, 1) for level in Priority
            },
            other_type=types.number("other", 0, 1),
            types=types.numbers(0, 1),
            urgent_floor=boost.number("urgent_floor", 0, 1),
            semantic_over=boost.number("semantic_over", 0, 1),
            semantic_floor=boost.number("semantic_floor", 0, 1),
        )
        for clause in (law, *parts.values(), words, night, amount):
            clause.close()
        return table


_SECTIONS: Final = ("weights", "permission", "volume", "context", "drift", "priority", "type")


class AgentHistory:
    """What one agent did lately, in a fixed number of words of memory.

    Volume is counted in two buckets of one window: the last full one counts for the share of it
    that still lies inside the window. A clock that steps back stays in the current bucket.
    """

    __slots__ = ("_before", "_bucket", "_count", "_recent", "_sum")

    def __init__(self) -> None:
        self._bucket = 0
        self._count = 0
        self._before = 0
        self._recent: deque[int] = deque(maxlen=DRIFT_WINDOW)
        self._sum = 0

    def arrive(self, now_s: float, window_s: float) -> float:
        """Count one message and return about how many arrived within the window, it included."""
        bucket = int(now_s // window_s)
        if bucket > self._bucket:
            self._before = self._count if bucket == self._bucket + 1 else 0
            self._bucket, self._count = bucket, 0
        self._count += 1
        passed = min(max(now_s / window_s - self._bucket, 0.0), 1.0)
        return self._count + self._before * (1.0 - passed)

    def deviate(self, score: float) -> float:
        """Remember a score and return how far it is from the mean of those before; 0 if none."""
        recent, micro = self._recent, round(score * _MICRO)
        deviation = abs(micro - self._sum / len(recent)) / _MICRO if recent else 0.0
        if len(recent) == DRIFT_WINDOW:
            self._sum -= recent[0]
        recent.append(micro)
        self._sum += micro
        return deviation


class AgentHistories:
    """The histories of the agents seen last, a bounded number; `forgotten` counts the others.

    They live in one replica and die with it: volume and drift are hints for scrutiny, not limits.
    """

    def __init__(self, histories_max: int = HISTORIES_MAX) -> None:
        self._max = histories_max
        self._histories: OrderedDict[tuple[str, str], AgentHistory] = OrderedDict()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._histories)

    def of(self, tenant: str, agent: str) -> AgentHistory:
        """The history of this agent; a fresh one when it was never seen or is forgotten."""
        key = tenant, agent
        history = self._histories.get(key)
        if history is not None:
            self._histories.move_to_end(key)
            return history
        if len(self._histories) >= self._max:
            self._histories.popitem(last=False)
            self.forgotten += 1
        return self._histories.setdefault(key, AgentHistory())


def weigh(message: Message, *, history: AgentHistory, table: ImpactTable, now: datetime) -> Impact:
    """Return the impact of the message by its structure, and remember it in the history."""
    arrived = history.arrive(now.timestamp(), table.volume_window_s)
    factors = {
        "permission": _permission(message, table),
        "volume": _volume(arrived, table),
        "context": _context(message, table, now),
        "drift": 0.0,
        "priority": table.priorities[message.priority.word],
        "type": table.types.get(message.type.value, table.other_type),
    }
    plain = {name: value for name, value in factors.items() if name != "drift"}
    factors["drift"] = _drift(history.deviate(score_of(plain, table)), table)
    return Impact(score=score_of(factors, table), factors=factors)


def deepen(impact: Impact, semantic: float, *, model: str, table: ImpactTable) -> Impact:
    """Return the impact with what a model read in the message; never a lower score.

    A semantic factor that is no number from 0 to 1 counts as 1.
    """
    read = semantic if 0.0 <= semantic <= 1.0 else 1.0
    factors = {**impact.factors, "semantic": round(read, _PLACES)}
    return Impact(score=max(impact.score, score_of(factors, table)), factors=factors, model=model)


def score_of(factors: Mapping[str, float], table: ImpactTable) -> float:
    """Return the weighted mean of the factors that exist, lifted to the floors they reach."""
    weight = fsum(table.weights[name] for name in factors)
    score = fsum(table.weights[name] * factors[name] for name in factors) / weight
    if factors.get("priority", 0.0) >= 1.0:
        score = max(score, table.urgent_floor)
    if factors.get("semantic", 0.0) > table.semantic_over:
        score = max(score, table.semantic_floor)
    return round(min(max(score, 0.0), 1.0), _PLACES)


def _permission(message: Message, table: ImpactTable) -> float:
    names = {name for name in (message.tool, message.action) if name}
    return max((_level(name, table) for name in names), default=table.unnamed_tool)


def _level(name: str, table: ImpactTable) -> float:
    if len(name) > NAME_MAX:  # what cannot be read whole is taken for the worst
        return max((*table.tool_words.values(), table.other_tool))
    known = [table.tool_words[word] for word in words_of(name) if word in table.tool_words]
    return max(known, default=table.other_tool)


def _volume(arrived: float, table: ImpactTable) -> float:
    for below, factor in table.volume_steps:
        if arrived < below:
            return factor
    return table.volume_above


def _context(message: Message, table: ImpactTable, now: datetime) -> float:
    first, last = table.night
    hour = now.astimezone(UTC).hour
    is_night = first <= hour <= last if first <= last else hour >= first or hour <= last
    factor = table.context_base + (table.night_adds if is_night else 0.0)
    if any(amount > table.amount_over for amount in _amounts(message.content, table.amount_words)):
        factor += table.amount_adds
    return round(min(factor, 1.0), _PLACES)


def _drift(deviation: float, table: ImpactTable) -> float:
    if deviation <= table.drift_tolerance:
        return 0.0
    return round(min(1.0, deviation / table.drift_tolerance * table.drift_slope), _PLACES)


def _amounts(content: Mapping[str, object], words: frozenset[str]) -> Iterator[float]:
    """Every number under a money-like key, or anywhere below one."""
    waiting: list[tuple[object, bool]] = [(content, False)]
    while waiting:
        value, is_money = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(
                (inner, is_money or not words.isdisjoint(words_of(key)))
                for key, inner in value.items()
                if inner is not None
            )
        elif isinstance(value, list | tuple):
            waiting.extend((inner, is_money) for inner in value)
        elif is_money:
            amount = amount_of(value)
            if amount is not None:
                yield amount
