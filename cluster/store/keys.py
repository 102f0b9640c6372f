"""The name of every key in the store. One hash tag per tenant, so that scripts stay in one slot."""

from __future__ import annotations

from typing import Final

TENANTS: Final = "acgs:tenants"  # set of tenants that ever had a decision recorded
SEQUENCER: Final = "acgs:{ledger}:sequencer"  # what the sequencer last said about itself
CONTROLS: Final = "acgs:{controls}:state"  # revoked tokens and agents, kill switches
HERALD_SINCE: Final = "acgs:{herald}:since"  # when channels first were there: ms, or absent


def wal(tenant: str) -> str:
    """Stream of recorded entries that are on their way into the ledger."""
    return f"acgs:{{{tenant}}}:wal"


def message(tenant: str, message_id: str) -> str:
    """First decision on a message id, kept for the replay window."""
    return f"acgs:{{{tenant}}}:msg:{message_id}"


def decision(tenant: str, decision_id: str) -> str:
    """Id of the message that a decision answers, kept for the replay window."""
    return f"acgs:{{{tenant}}}:dec:{decision_id}"


def halted(tenant: str) -> str:
    """Why the tenant's log takes no more records, while that is so."""
    return f"acgs:{{{tenant}}}:halted"


def outbox(tenant: str) -> str:
    """Hash decision id -> message: allowed and recorded, not yet known to be delivered."""
    return f"acgs:{{{tenant}}}:outbox"


def held(tenant: str) -> str:
    """Hash decision id -> message: recorded as `review`, waiting for people."""
    return f"acgs:{{{tenant}}}:held"


def review(tenant: str, review_id: str) -> str:
    """One review: how often it moved, and the review itself."""
    return f"acgs:{{{tenant}}}:review:{review_id}"


def reviews(tenant: str, part: str) -> str:
    """One index over the tenant's reviews, the stream of what happened to them, or its bell."""
    return f"acgs:{{{tenant}}}:reviews:{part}"


def herald(tenant: str, part: str) -> str:
    """One part of what the tenant's channels are to be told, or were."""
    return f"acgs:{{{tenant}}}:herald:{part}"


def callback(digest: str) -> str:
    """Says that a signed callback was taken, for as long as it could be sent again."""
    return f"acgs:{{callback}}:{digest}"


def agents(tenant: str) -> str:
    """Hash agent id -> registration."""
    return f"acgs:{{{tenant}}}:agents"


def mailbox(tenant: str, agent: str, part: str) -> str:
    """One part of an agent's mailbox."""
    return f"acgs:{{{tenant}}}:mb:{agent}:{part}"


def bell(tenant: str, agent: str) -> str:
    """Channel that rings when an agent's mailbox gets something."""
    return f"acgs:{{{tenant}}}:bell:{agent}"


def subject_keys(tenant: str) -> str:
    """Hash subject -> wrapped key of its evidence; deleting a field erases the evidence."""
    return f"acgs:{{{tenant}}}:subject-keys"


def high_water(log: str) -> str:
    """The largest checkpoint ever published for a log, kept outside the ledger's folder."""
    return f"acgs:{{ledger}}:high-water:{log}"


def heartbeat(actor: str) -> str:
    """The last sign of life of a detached actor."""
    return f"acgs:{{heartbeat}}:{actor}"


def console(part: str, name: str) -> str:
    """What is sealed behind a code (a ticket, a session, a sign-in); a person's sessions."""
    return f"acgs:{{console}}:{part}:{name}"
