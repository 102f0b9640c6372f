"""The values of a mailbox, without a store."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mailbox.mailbox import (
    RETRY_MAX_S,
    Lease,
    MailboxFullError,
    Profile,
    Terms,
    check_agent_id,
    millis,
    retry_delay_s,
    time_of,
)
from cluster.settings import Settings
from policies.errors import RefusalError

LEASES = st.builds(
    Lease,
    st.builds("{}-{}".format, st.integers(1, 10**15), st.integers(0, 3)),
    st.integers(1, 10**8),
    st.integers(0, 2**64 - 1).map("{:016x}".format),
)


@given(LEASES)
def test_a_lease_id_says_what_it_was_made_of(lease: Lease) -> None:
    assert Lease.parse(str(lease)) == lease
    assert len(str(lease)) <= 64


@pytest.mark.parametrize(
    "lease_id",
    [
        "",
        "nonsense",
        "1-1-1",
        "1-4-1-0123456789abcdef",
        "1-1-0-0123456789abcdef",
        "1-1-1-0123456789abcdef\n",
        "1-1-1-0123456789ABCDEF",
        "\u0661-1-1-0123456789abcdef",
        "1-1-1-0123456789abcdef:acked",
        "9" * 400,
    ],
)
def test_anything_else_is_an_unknown_lease(lease_id: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        Lease.parse(lease_id)
    assert (refusal.value.code, refusal.value.status) == ("mailbox.lease_unknown", 404)


def test_the_delay_doubles_up_to_its_bound() -> None:
    assert [retry_delay_s(attempt) for attempt in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert retry_delay_s(10**9) == RETRY_MAX_S


def test_a_profile_comes_back_as_it_was() -> None:
    profile = Profile(
        agent_type="planner",
        capabilities=["plan", "żółć"],
        roles=["executive"],
        metadata={"team": {"size": 3}},
    )
    assert Profile.unpack(profile.pack()) == profile


def test_a_profile_has_a_largest_size() -> None:
    with pytest.raises(RefusalError) as refusal:
        Profile(metadata={"x": "y" * 9000}).pack()
    assert refusal.value.code == "agent.profile_too_large"


@pytest.mark.parametrize("agent", ["", "*", "a", "A1", "a:b", "a\n", "-a", "ąb", "a" * 65])
def test_what_cannot_name_an_agent_is_refused(agent: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        check_agent_id(agent)
    assert refusal.value.code == "agent.bad_id"


@given(st.integers(0, 4 * 10**12))
def test_milliseconds_survive_the_journey_through_a_datetime(milliseconds: int) -> None:
    assert millis(time_of(milliseconds)) == milliseconds


def test_a_millisecond_that_is_not_over_does_not_count() -> None:
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    assert millis(moment + timedelta(microseconds=1999)) == millis(moment) + 1


def test_the_terms_follow_the_settings() -> None:
    assert Terms.of(Settings(max_retries=7)).max_retries == 7


def test_a_full_mailbox_is_a_503_that_survives_a_journey_between_processes() -> None:
    error = pickle.loads(pickle.dumps(MailboxFullError("mailer")))
    assert (error.code, error.status, error.retryable) == ("mailbox.full", 503, True)
    assert "mailer" in str(error)
