"""What is told of a review, to whom, and what never is."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

import pytest

from actors.herald.letter import DamagedNotificationError, pack, unpack
from actors.herald.place import Place, Shelf
from policies.decision import Impact
from policies.notification import (
    DECIDED,
    DEFAULT_STEPS,
    EVERY,
    OPENED,
    RETRY_MAX_S,
    STEPS,
    TEST,
    TEXT_MAX,
    WAITING,
    Happening,
    Interest,
    Kind,
    Notification,
    first_known,
    is_moot,
    notification_of,
    plain,
    retry_delay_s,
)
from policies.notification_words import facts, grounds, headline
from policies.review import ENDED, Closing, Review, State, Step

from builders import NOW, a_reason, a_review


def a_happening(step: str = OPENED, state: State = State.PENDING, version: int = 1) -> Happening:
    return Happening(review_id="decision-1", step=step, state=state, version=version, at=NOW)


def a_notification(
    happening: Happening | None = None, review: Review | None = None, *, channel: str = "hook"
) -> Notification:
    return notification_of(
        happening or a_happening(),
        review or a_review(),
        channel=channel,
        public_url="https://bus.example.org",
    )


def an_interest(kind: Kind = Kind.WEBHOOK, **changes: frozenset[str]) -> Interest:
    interest = Interest(
        channel="hook", kind=kind, tenants=frozenset({EVERY}), steps=DEFAULT_STEPS[kind]
    )
    return replace(interest, **changes)  # type: ignore[arg-type]  # each is a set of words


# -- what is told ---------------------------------------------------------------------------------


def test_a_notification_holds_nothing_of_the_message_but_what_it_wants_to_do() -> None:
    review = a_review(resource="payroll/olga.xlsx", recipient="mailer")
    told = a_notification(review=review)
    assert {field.name for field in fields(told)}.isdisjoint({"content", "args", "resource"})
    everything = repr(told) + headline(told) + repr(facts(told)) + repr(grounds(told))
    assert "payroll" not in everything


def test_what_people_said_stays_where_they_said_it() -> None:
    closing = Closing(code="review.rejected", reason="the password is hunter2", by="rita", at=NOW)
    review = a_review(state=State.REJECTED, closing=closing, version=2)
    told = a_notification(a_happening("vote", State.REJECTED, 2), review)
    assert told.code == "review.rejected"
    assert "hunter2" not in repr(told)
    assert "rita" not in repr(told)


def test_an_id_is_the_same_whenever_it_is_made_and_no_other_step_has_it() -> None:
    assert a_notification() == a_notification()
    ids = {
        a_notification(channel="hook").id,
        a_notification(channel="post").id,
        a_notification(a_happening("claim", State.CLAIMED, 2)).id,
        a_notification(review=a_review(review_id="decision-2")).id,
    }
    assert len(ids) == 4
    assert not any("." in each for each in ids)  # what stands between the parts that are signed


def test_what_happened_is_told_as_it_was_though_the_review_went_on() -> None:
    closing = Closing(code="review.rejected", reason="no", by="rita", at=NOW)
    review = a_review(state=State.REJECTED, closing=closing, version=2)
    told = a_notification(a_happening(), review)
    assert (told.state, told.version, told.over, told.code) == ("pending", 1, False, None)


def test_nothing_hides_in_what_an_agent_wrote() -> None:
    review = a_review(tool="file.delete\u202e\n<!channel>" + "x" * 500)
    told = a_notification(review=review)
    assert "\\u202e\\u000a<!channel>" in told.action
    assert told.action.isprintable()
    assert len(told.action) == TEXT_MAX
    assert "\n" not in headline(told)


def test_what_is_private_in_what_an_agent_wrote_stays_here_and_its_links_lead_nowhere() -> None:
    key = "sk-proj-" + "Ab3" * 12
    tool = f"fetch {key} for ann@example.com at https://evil.test/x"
    told = a_notification(review=a_review(tool=tool, reasons=(a_reason("x", message=f"no {key}"),)))
    assert key not in told.action
    assert "ann@example.com" not in told.action
    assert "https[:]//evil.test" in told.action
    assert key not in told.grounds[0].message


def test_plain_text_stays_as_it_is() -> None:
    assert plain("Löschen: 100 % sure, 消す") == "Löschen: 100 % sure, 消す"


def test_reasons_are_told_by_their_codes_and_messages() -> None:
    review = a_review(reasons=(a_reason("policy.tool_held"),))
    told = a_notification(review=review)
    assert grounds(told) == (f"policy.tool_held: {review.reasons[0].message}",)


def test_a_queue_gives_a_notification_back_equal() -> None:
    review = a_review(impact=Impact(score=0.123456789, factors={}))
    for told in (a_notification(), a_notification(review=review)):
        assert unpack(pack(told)) == told


@pytest.mark.parametrize("packed", [b"", b"{}", b"[]", b'{"v": 2}', pack(a_notification())[:-1]])
def test_a_damaged_one_is_not_read_by_halves(packed: bytes) -> None:
    with pytest.raises(DamagedNotificationError):
        unpack(packed)


# -- to whom --------------------------------------------------------------------------------------


def test_a_webhook_hears_every_step_and_people_hear_when_they_are_asked_and_when_it_is_over() -> (
    None
):
    steps = [
        (a_happening(), True),
        (a_happening("claim", State.CLAIMED), False),
        (a_happening("unclaim", State.PENDING), False),
        (a_happening("lapse", State.PENDING), False),
        (a_happening("vote", State.PENDING), False),
        (a_happening("escalate", State.PENDING), True),
        (a_happening("vote", State.APPROVED), True),
        (a_happening("consume", State.CONSUMED), True),
        (a_happening("overrule", State.REJECTED), True),
        (a_happening("expire", State.EXPIRED), True),
        (a_happening("cancel", State.CANCELLED), True),
    ]
    for happening, for_people in steps:
        assert an_interest(Kind.WEBHOOK).wants(happening, a_review())
        for kind in (Kind.SLACK, Kind.MAIL):
            assert an_interest(kind).wants(happening, a_review()) is for_people, happening


def test_people_are_asked_when_critics_hand_it_over_and_not_before() -> None:
    mail = an_interest(Kind.MAIL)
    assert not mail.wants(a_happening(OPENED, State.DELIBERATING), a_review())
    assert not mail.wants(a_happening("convene", State.DELIBERATING), a_review())
    assert not mail.wants(a_happening("opine", State.DELIBERATING), a_review())
    for step in (Step.CONVENE, Step.OPINE, Step.HAND_OVER):
        happening = a_happening(step.value, State.PENDING)
        assert happening.asks
        assert mail.wants(happening, a_review())
    assert mail.wants(a_happening("opine", State.APPROVED), a_review())


def test_every_step_that_there_is_can_be_asked_for() -> None:
    for step in Step:
        assert step.value in STEPS
        interest = an_interest(steps=frozenset({step.value}))
        assert interest.wants(a_happening(step.value), a_review())
        assert not interest.wants(a_happening(OPENED), a_review())


def test_a_filter_lets_through_what_it_names_and_all_of_its_parts_count() -> None:
    happening, review = a_happening(), a_review()
    assert an_interest(tiers=frozenset({"light"})).wants(happening, review)
    assert not an_interest(tiers=frozenset({"grave"})).wants(happening, review)
    assert an_interest(agents=frozenset({review.agent})).wants(happening, review)
    assert not an_interest(agents=frozenset({"planner"})).wants(happening, review)
    assert an_interest(tenants=frozenset({review.tenant})).wants(happening, review)
    assert not an_interest(tenants=frozenset({"globex"})).wants(happening, review)
    assert not an_interest(tenants=frozenset()).wants(happening, review)
    both = an_interest(tiers=frozenset({"light"}), agents=frozenset({"planner"}))
    assert not both.wants(happening, review)
    waiting = an_interest(steps=frozenset({WAITING}))
    decided = an_interest(steps=frozenset({DECIDED}))
    assert waiting.wants(happening, review)
    assert not decided.wants(happening, review)


# -- what is late ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.SLACK, Kind.MAIL, Kind.PAGERDUTY])
def test_nobody_is_called_to_what_is_over_by_now(kind: Kind) -> None:
    calling, ending = a_notification(), a_notification(a_happening("vote", State.REJECTED, 2))
    assert not is_moot(calling, kind, State.PENDING)
    assert not is_moot(calling, kind, State.CLAIMED)
    for state in (*ENDED, State.APPROVED, None):
        assert is_moot(calling, kind, state)
        assert not is_moot(ending, kind, state)
        assert not is_moot(calling, Kind.WEBHOOK, state)


@pytest.mark.parametrize("state", list(State))
def test_of_any_review_something_can_be_told_when_its_steps_are_forgotten(state: State) -> None:
    closing = Closing(code="review.x", reason="r", by=None, at=NOW) if state in ENDED else None
    review = a_review(state=state, closing=closing, version=7)
    happening = first_known(review)
    assert happening.is_over == (state in ENDED or state is State.APPROVED)
    if not happening.is_over:
        assert (happening.step, happening.version) == (OPENED, 1)
    else:
        assert happening.version == 7


# -- when it comes again --------------------------------------------------------------------------


def test_each_failure_doubles_the_wait_up_to_an_hour() -> None:
    waits = [retry_delay_s(attempt, 1.0) for attempt in range(1, 14)]
    assert waits[:4] == [5, 10, 20, 40]
    assert waits == sorted(waits)
    assert waits[-1] == RETRY_MAX_S
    assert retry_delay_s(10_000, 1.0) == RETRY_MAX_S


def test_chance_spreads_the_waits_over_their_second_half() -> None:
    assert retry_delay_s(1, 0.0) == 2.5
    assert retry_delay_s(1, 0.5) == 3.75


def test_who_asks_for_time_gets_it_within_reason() -> None:
    assert retry_delay_s(1, 0.0, 90.0) == 90.0
    assert retry_delay_s(5, 1.0, 1.0) == 80.0
    assert retry_delay_s(1, 0.0, 1e12) == RETRY_MAX_S


# -- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        Place("0-0"),
        Place("17-3", Shelf.OPEN),
        Place("17-3", Shelf.OPEN, "0000000000000017:r1"),
        Place("17-3", Shelf.TOLD, "r1"),
    ],
)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert Place.parse(str(place)) == place


def test_words_say_what_happened() -> None:
    review = a_review(tool="file.delete", expires_at=NOW + timedelta(hours=1))
    said = [
        headline(a_notification(happening, review))
        for happening in (
            a_happening(),
            a_happening("escalate"),
            a_happening("break_glass"),
            a_happening("claim", State.CLAIMED),
            a_happening("vote", State.APPROVED),
            a_happening("consume", State.CONSUMED),
            a_happening("expire", State.EXPIRED),
        )
    ]
    assert said == [
        "Waits for approval - writer: file.delete",
        "Still waits for approval - writer: file.delete",
        "Waits for one more to let it go at once - writer: file.delete",
        "Claimed (claim) - writer: file.delete",
        "Approved - writer: file.delete",
        "Approved and done - writer: file.delete",
        "Expired - writer: file.delete",
    ]
    test = replace(a_notification(), step=TEST)
    assert headline(test) == "A test of the channel hook: nothing waits for you"
    assert facts(test) == (("Sent for", "acme"),)
    labels = [label for label, _ in facts(a_notification(a_happening(), review))]
    assert labels == ["Agent", "Wants", "Impact", "Needs", "Until"]
