"""One decision on many reviews: each vote for itself, and what stops a round loses nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from actors.reviews.precedents import Named, Same
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.panel import Choice
from policies.principal import Principal
from policies.review import Review
from serve_app.ballots import TIME_MAX_S, VOTES_MAX, Ballot, Round, vote_all

from builders import a_principal, a_review
from fakes import FakeClock

DIGEST = a_review().action_digest
RITA = a_principal(agent="rita", roles=frozenset({"reviewer"}))
SLOW_S = TIME_MAX_S / 2
STOPPED = RefusalError("control.killed", "an operator stopped it", 403)
CLAIMED = RefusalError("review.claimed", "sam looks at it", 409)
DOWN = DependencyError("store", "it does not answer")


@dataclass
class Box:
    """Open reviews of one action, and what hinders a vote on some of them."""

    review_ids: list[str]
    hindered: dict[str, GovernanceError] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    slow: frozenset[str] = frozenset()
    voted: list[tuple[str, Choice, str, str | None]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def same(
        self, principal: Principal, digest: str, *, limit: int, cursor: str | None = None
    ) -> Same:
        assert (principal, digest) == (RITA, DIGEST)
        found = [each for each in self.review_ids if each > (cursor or "")]
        named = tuple(Named(each, each) for each in found[:limit])
        return Same(named, is_more=len(found) > limit)

    async def vote(
        self,
        principal: Principal,
        review_id: str,
        *,
        choice: Choice,
        reason: str,
        digest: str | None = None,
    ) -> Review:
        assert principal == RITA
        if review_id in self.slow:
            self.clock.forward(SLOW_S)
        if error := self.hindered.get(review_id):
            raise error
        self.voted.append((review_id, choice, reason, digest))
        return a_review(review_id=review_id)

    def cast(self, *, reason: str = "seen", cursor: str | None = None) -> Round:
        ballot = Ballot(digest=DIGEST, choice=Choice.APPROVE, reason=reason, cursor=cursor)

        async def refused(error: GovernanceError) -> None:
            self.refused.append(error.code)

        return asyncio.run(
            vote_all(
                self,
                RITA,
                ballot,
                clock=self.clock,
                require_free=self.require_free,
                on_refused=refused,
            )
        )

    def require_free(self) -> None:
        """Stopped by an operator once "stop" was voted on."""
        if any(review_id == "stop" for review_id, *_ in self.voted):
            raise STOPPED


def told(votes: Round) -> list[tuple[str, str]]:
    return [(one.review_id, one.error.code if one.error else "voted") for one in votes.outcomes]


def test_each_is_voted_on_with_the_digest_and_the_reason_the_oldest_first() -> None:
    box = Box(["r1", "r2"])
    votes = box.cast()
    assert told(votes) == [("r1", "voted"), ("r2", "voted")]
    assert box.voted == [(each, Choice.APPROVE, "seen", DIGEST) for each in ("r1", "r2")]
    assert (votes.is_more, votes.next_cursor) == (False, None)


def test_a_refused_vote_fails_alone_and_is_heard_of() -> None:
    box = Box(["r1", "r2", "r3"], {"r2": CLAIMED})
    votes = box.cast()
    assert told(votes) == [("r1", "voted"), ("r2", "review.claimed"), ("r3", "voted")]
    assert box.refused == ["review.claimed"]
    assert not votes.is_more


def test_what_is_damaged_fails_alone_too() -> None:
    box = Box(["r1", "r2"], {"r1": GovernanceError("damaged")})
    assert told(box.cast()) == [("r1", "governance.error"), ("r2", "voted")]


def test_a_round_is_bounded_and_the_next_one_goes_on_behind_it() -> None:
    names = [f"r{number:03}" for number in range(VOTES_MAX + 3)]
    box = Box(names, dict.fromkeys(names[:VOTES_MAX], CLAIMED))
    first = box.cast()
    assert (len(first.outcomes), first.is_more) == (VOTES_MAX, True)
    second = box.cast(cursor=first.next_cursor)
    assert [name for name, _ in told(second)] == names[VOTES_MAX:]
    assert not second.is_more


@pytest.mark.parametrize("error", [DOWN, STOPPED], ids=["dependency", "operator"])
def test_what_stops_a_round_is_told_and_the_next_one_begins_there(error: GovernanceError) -> None:
    box = (
        Box(["r1", "r2", "r3"], {"r2": DOWN}) if error is DOWN else Box(["r1", "stop", "z2", "z3"])
    )
    votes = box.cast()
    assert told(votes)[-1] == (votes.outcomes[-1].review_id, error.code)
    assert box.refused == [error.code]
    assert votes.is_more
    box.hindered.clear()
    left = [one for one in box.review_ids if one > (votes.next_cursor or "")]
    assert left[0] == votes.outcomes[-1].review_id


def test_what_stops_the_last_vote_of_a_round_leaves_it_to_the_next() -> None:
    votes = Box(["r1", "r2"], {"r2": DOWN}).cast()
    assert (votes.is_more, votes.next_cursor) == (True, "r1")


def test_where_not_even_the_first_vote_can_be_taken_the_whole_call_fails() -> None:
    with pytest.raises(DependencyError):
        Box(["r1", "r2"], {"r1": DOWN}).cast()


def test_a_round_ends_when_its_time_is_over() -> None:
    names = ["r1", "r2", "r3", "r4"]
    box = Box(names, slow=frozenset(names))
    votes = box.cast()
    assert told(votes) == [("r1", "voted"), ("r2", "voted")]
    assert (votes.is_more, votes.next_cursor) == (True, "r2")
    assert not box.cast(cursor="r2").is_more


@pytest.mark.parametrize("reason", ["", " \n", "\u200b", "x" * 2001])
def test_without_a_reason_nothing_is_voted_on(reason: str) -> None:
    box = Box(["r1"])
    with pytest.raises(RefusalError, match="say why"):
        box.cast(reason=reason)
    assert box.voted == []


def test_where_nothing_is_open_nothing_happens() -> None:
    assert Box([]).cast() == Round(outcomes=(), is_more=False, next_cursor=None)
