"""What an agent wants to send, without what is private in it: for those who decide on it.

The masked form is what everybody is shown. Who sees the rest is on record first, or nobody does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policies.findings import scan
from policies.message import Message
from policies.redaction import PRIVATE, redact


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """A message's content and metadata as they are shown; `kinds` are the detectors at work."""

    content: Mapping[str, object]
    metadata: Mapping[str, object]
    kinds: tuple[str, ...]


def masked(message: Message) -> Masked:
    """Return the message without secrets and personal data. May take a while for a megabyte."""
    clean, kinds = mask(leaving(message))
    if not message.metadata:
        return Masked(content=clean, metadata={}, kinds=kinds)
    content, metadata = clean["content"], clean["metadata"]
    assert isinstance(content, Mapping)
    assert isinstance(metadata, Mapping)
    return Masked(content=content, metadata=metadata, kinds=kinds)


def leaving(message: Message) -> Mapping[str, object]:
    """Return what people look at before they let it go: the content, and the metadata if any."""
    if not message.metadata:
        return message.content
    return {"content": message.content, "metadata": message.metadata}


def unmasked(message: Message, kinds: tuple[str, ...]) -> Masked:
    """Return the message as it would leave; `kinds` are what `masked` had taken out."""
    return Masked(content=message.content, metadata=message.metadata, kinds=kinds)


def mask(content: Mapping[str, object]) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """Return the content with its private parts taken out, and which detectors saw them."""
    findings = scan(content)
    kinds = tuple(sorted({one.detector for one in findings if one.kind in PRIVATE}))
    return (redact(content, findings) if kinds else content), kinds
