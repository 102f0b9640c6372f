"""The recorder: decisions become durable here, before anything acts on them."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

import orjson

from actors.ledger import entry, remember, wal
from actors.ledger.canonical import canonical
from actors.ledger.errors import WalRecordError
from actors.ledger.evidence import Place, Sealed, open_evidence, seal_evidence
from actors.ledger.keys import WriterKeys, log_origin
from actors.ledger.merkle import leaf_hash
from actors.ledger.overflow import CORE_MAX, Core, fit
from actors.ledger.subjects import SubjectKey, SubjectKeys
from cluster.clock import Clock
from cluster.errors import StoreUnavailableError
from cluster.store import keys
from cluster.store.batching import GroupCommit
from cluster.store.client import Call, Store
from policies.decision import Decision, Effect, Receipt, Recorded
from policies.errors import DependencyError, RefusalError
from policies.message import Message
from policies.parcel import parcel
from policies.principal import Principal

_LARGE: Final = 64 * 1024  # bytes of content from which encryption leaves the event loop
_ATTEMPTS: Final = 3  # a subject may be erased while one of its messages is being recorded


class Archive(Protocol):
    """Answers for what the store has forgotten; LedgerReader is one."""

    async def recorded(self, tenant: str, decision_id: str) -> Recorded | None:
        """Return a decision that is in the signed tree."""
        ...

    async def recorded_for(self, tenant: str, message_id: str) -> Recorded | None:
        """Return the first decision on a message that is in the signed tree."""
        ...


class Sequel(NamedTuple):
    """What follows a record in the same breath.

    `beside` lies beside the held message, of which there may be `held_max`. `call` acts on what
    the record left in outbox or held, and must do nothing when it left nothing, since the record
    may be refused; `carried` says by its reply whether nothing more is left to do.
    """

    call: Call
    carried: Callable[[object], bool]
    beside: bytes = b""
    held_max: int = wal.HELD_MAX


class Onward(Protocol):
    """Carries out what a record promises."""

    def sequel(self, decision: Decision, release: Message) -> Sequel | None:
        """Return what follows the record of this decision, None when that takes more than a call.

        `release` is what may leave, now or after a review.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Draft:
    """A decision ready to be recorded, but for its evidence."""

    memory: bytes
    fitted: Core
    identity: str
    parcel: bytes
    waits_in: str
    sequel: Sequel | None


class LedgerRecorder:
    """Records decisions by group commit into the store's write-ahead streams.

    Belongs to one event loop. `archive` answers for decisions older than the replay window.
    """

    def __init__(
        self,
        store: Store,
        secrets: WriterKeys,
        *,
        origin: str,
        clock: Clock,
        replay_window_s: int,
        archive: Archive | None = None,
        onward: Onward | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._origin = origin
        self._clock = clock
        self._replay_window_s = replay_window_s
        self._archive = archive
        self._onward = onward
        self._random = random
        self._group = GroupCommit(store)
        self._subjects = SubjectKeys(store, secrets, clock=clock, random=random)
        self._tenants: set[str] = set()

    async def append(
        self, decision: Decision, message: Message, *, release: Message | None
    ) -> Recorded:
        """Return once the decision, and the promise of its effect, survives a power cut.

        `message` is kept as evidence of what was judged; `release` is what may leave, to be
        delivered (allow) or held (review), or None when nothing may. What follows leaves in the
        same round trip, behind the record, and `carried_out` says whether nothing is left to do.

        The same message id with the same request answers with the first decision, and so does
        the same review for a decision that lets go what was held; only one such decision takes it
        out of the held. Raises RefusalError `message.id_reused` (409) for another request under a
        known id, `review.not_held` (409) when what it would let go is not held any more,
        DependencyError when this tenant's log has stopped or is too far behind, and
        StoreUnavailableError when the store does not confirm: the decision may then be recorded
        or not, and sending the same message again finds out.
        """
        await self._introduce(decision.tenant)
        draft = self._draft(decision, message, release)
        for _ in range(_ATTEMPTS):
            key = await self._subjects.get(decision.tenant, decision.agent)
            append = await self._sealed(decision, message, draft=draft, key=key)
            reply, carried_out = await self._send(append, draft.sequel)
            match reply:
                case [1, bytes() as entry_id]:
                    receipt = self._receipt(decision.tenant, append.body, entry_id.decode())
                    return Recorded(
                        decision=decision,
                        receipt=receipt,
                        replayed=False,
                        carried_out=carried_out,
                    )
                case [0, bytes() as seen, list() as record]:
                    first = self._repeated(decision.tenant, seen, record, asked=draft.identity)
                    # The store sends a call again when an answer got lost: then it is our own.
                    ours = first.decision.decision_id == decision.decision_id
                    return replace(first, replayed=not ours)
                case [3, bytes() as reason]:
                    raise DependencyError("ledger", reason.decode())
                case [4]:
                    raise RefusalError("review.not_held", "nothing is held for it any more", 409)
                case _:
                    self._subjects.forget(decision.tenant, decision.agent)
        raise StoreUnavailableError(f"the evidence key of {decision.agent} keeps changing")

    async def find(self, tenant: str, message_id: str) -> Decision | None:
        """Return the decision on a message, or None if this tenant never had one recorded."""
        reply = await self._store.run(wal.by_message_call(tenant, message_id))
        if isinstance(reply, list):
            return entry.decision_from(orjson.loads(remember.unpack(reply[1]).core))
        older = self._archive and await self._archive.recorded_for(tenant, message_id)
        return older.decision if older else None

    async def decision(self, tenant: str, decision_id: str) -> Recorded | None:
        """Return a decision and its receipt, or None if this tenant has no such decision."""
        reply = await self._store.run(wal.by_decision_call(tenant, decision_id))
        if isinstance(reply, list):
            kept = self._kept(tenant, reply[1], reply[2], replayed=False)
            # A message id may be decided again after the replay window; then this is another.
            if kept.decision.decision_id == decision_id:
                return kept
        return await self._archive.recorded(tenant, decision_id) if self._archive else None

    async def refuse(
        self,
        principal: Principal,
        *,
        code: str,
        request_digest: str | None,
        message_id: str | None = None,
    ) -> Receipt:
        """Record that a request was refused before it could be judged; never what it said.

        `request_digest` is None when it was refused before its body was read.
        """
        facts = {"code": code, "message_id": message_id, "request_digest": request_digest}
        return await self._note(
            principal.tenant, entry.Kind.REFUSAL, {**self._who(principal), **facts}
        )

    async def reveal(
        self, principal: Principal, *, review_id: str, action_digest: str, masked: Sequence[str]
    ) -> Receipt:
        """Record that somebody is about to see, unmasked, what a review holds; never what it is.

        `masked` are the detectors of what is shown. Show nothing before this has returned. Raises
        DependencyError when this tenant's log has stopped or is too far behind.
        """
        facts = {"review_id": review_id, "action_digest": action_digest, "masked": list(masked)}
        tenant, kind = principal.tenant, entry.Kind.REVEAL
        await self._introduce(tenant)
        body = entry.other_body(kind, {kind.value: {**self._who(principal), **facts}})
        call = wal.note_before_call(tenant, body, wal_key=self._secrets.wal_key)
        match await self._group.run(call):
            case bytes() as entry_id:
                return self._receipt(tenant, body, entry_id.decode())
            case [3, bytes() as reason]:
                raise DependencyError("ledger", reason.decode())
            case other:
                raise StoreUnavailableError(f"the store answered a record with {other!r:.80}")

    async def erase(self, tenant: str, subject: str, *, by: Principal, reason: str) -> Receipt:
        """Delete the key of the subject's evidence, and record that, in one step.

        Raises RefusalError `evidence.no_such_subject` (404) when there is nothing to erase. What
        the entries say, and every proof, stays; what the subject's messages held is gone.
        """
        facts = {
            "tenant": tenant,
            "subject": subject,
            "by": by.agent,
            "reason": reason,
            "at": entry.timestamp(self._clock.now()),
        }
        self._subjects.forget(tenant, subject)
        return await self._note(tenant, entry.Kind.ERASURE, facts, forget=subject)

    async def evidence(self, found: entry.Entry, outside: bytes | None = None) -> bytes:
        """Return the content that a decision entry judged, in its RFC 8785 form.

        Raises EvidenceError when the subject was erased or the evidence does not fit the entry.
        """
        record = found.body["decision"]
        place = Place(record["tenant"], record["agent"], record["decision_id"])
        key = await self._subjects.existing(place.tenant, place.subject)
        return open_evidence(found.body["evidence"], place=place, key=key, outside=outside)

    async def close(self) -> None:
        """Refuse new decisions and return when every accepted one is answered."""
        await self._group.close()

    async def _introduce(self, tenant: str) -> None:
        """Tell the sequencer about a tenant before its first record."""
        if tenant not in self._tenants:
            await self._store.execute("SADD", keys.TENANTS, tenant)
            self._tenants.add(tenant)

    def _who(self, principal: Principal) -> dict[str, object]:
        """Return what an entry says of a verified caller, and when."""
        return {
            "tenant": principal.tenant,
            "agent": principal.agent,
            "roles": sorted(principal.roles),
            "at": entry.timestamp(self._clock.now()),
        }

    async def _note(
        self, tenant: str, kind: entry.Kind, facts: Mapping[str, object], *, forget: str = ""
    ) -> Receipt:
        await self._introduce(tenant)
        body = entry.other_body(kind, {kind.value: facts})
        call = wal.note_call(tenant, body, wal_key=self._secrets.wal_key, forget=forget)
        entry_id = await self._group.run(call)
        if not isinstance(entry_id, bytes):
            raise RefusalError(
                "evidence.no_such_subject", f"{forget} has no evidence here, or no more", 404
            )
        return self._receipt(tenant, body, entry_id.decode())

    async def _sealed(
        self, decision: Decision, message: Message, *, draft: _Draft, key: SubjectKey
    ) -> wal.Append:
        place = Place(decision.tenant, decision.agent, decision.decision_id)
        nonce, room = self._random(12), CORE_MAX - len(draft.fitted.inside)
        if message.content_size > _LARGE:
            sealed = await asyncio.to_thread(
                _seal, message, place=place, key=key.key, nonce=nonce, room=room
            )
        else:
            sealed = _seal(message, place=place, key=key.key, nonce=nonce, room=room)
        body = entry.decision_body(
            draft.fitted.inside,
            evidence=sealed.record,
            identity=draft.identity,
            overflow=draft.fitted.record,
        )
        return wal.Append(
            tenant=decision.tenant,
            subject=decision.agent,
            message_id=entry.answers(decision.message_id, decision.review_id),
            decision_id=decision.decision_id,
            body=body,
            memory=draft.memory,
            wrapped_key=key.wrapped,
            evidence=sealed.outside,
            overflow=draft.fitted.outside,
            parcel=draft.parcel,
            waits_in=draft.waits_in,
            beside=draft.sequel.beside if draft.sequel else b"",
            held_max=draft.sequel.held_max if draft.sequel else wal.HELD_MAX,
            releases=decision.review_id or "",
        )

    async def _send(self, append: wal.Append, sequel: Sequel | None) -> tuple[object, bool]:
        """Return the reply to the record, and whether what it promises was carried out with it."""
        record = self._call(append)
        if sequel is None:
            return await self._group.run(record), False
        reply, followed = await self._group.run_all([record, sequel.call])
        if isinstance(reply, Exception):
            raise reply
        return reply, sequel.carried(followed)

    def _draft(self, decision: Decision, message: Message, release: Message | None) -> _Draft:
        record = entry.decision_fields(decision)
        core = entry.decision_core(record)
        waits_in = "" if release is None else _waits_in(decision)
        asked = remember.identity_of(message, delivers=decision.delivers)
        sequel = None
        if release is not None and waits_in and self._onward is not None:
            sequel = self._onward.sequel(decision, release)
        return _Draft(
            memory=remember.pack(asked, core),
            fitted=fit(record, core),
            identity=asked,
            parcel=b"" if release is None else parcel(release, decision.decision_id),
            waits_in=waits_in,
            sequel=sequel,
        )

    def _call(self, append: wal.Append) -> Call:
        return wal.append_call(
            append, wal_key=self._secrets.wal_key, replay_window_s=self._replay_window_s
        )

    def _receipt(
        self, tenant: str, body: bytes, entry_id: str, *, index: int | None = None
    ) -> Receipt:
        leaf = leaf_hash(entry.seal(body, entry_id))
        return Receipt(
            origin=log_origin(self._origin, tenant),
            leaf_hash=b64encode(leaf).decode(),
            entry_id=entry_id,
            leaf_index=index,
        )

    def _repeated(self, tenant: str, seen: bytes, record: list[object], *, asked: str) -> Recorded:
        if remember.unpack(seen).identity != asked:
            raise RefusalError(
                "message.id_reused",
                "this message_id already stands for another request; send this one under its own",
                409,
            )
        return self._kept(tenant, seen, record, replayed=True)

    def _kept(self, tenant: str, seen: bytes, record: list[object], *, replayed: bool) -> Recorded:
        kept = remember.unpack(seen)
        decision = entry.decision_from(orjson.loads(kept.core))
        if kept.leaf_hash:
            receipt = Receipt(
                origin=log_origin(self._origin, tenant),
                leaf_hash=kept.leaf_hash,
                entry_id=kept.entry_id,
                leaf_index=kept.leaf_index,
            )
        elif not record:
            raise WalRecordError(
                "wal.missing", kept.entry_id, "it left the stream before it was in the tree"
            )
        else:
            body = wal.checked(record[0], tenant=tenant, wal_key=self._secrets.wal_key).body
            receipt = self._receipt(tenant, body, kept.entry_id)
        return Recorded(decision=decision, receipt=receipt, replayed=replayed)


def _waits_in(decision: Decision) -> str:
    match decision.effect:
        case Effect.ALLOW:
            return keys.outbox(decision.tenant) if decision.delivers else ""
        case Effect.REVIEW:
            return keys.held(decision.tenant)
        case Effect.DENY:
            return ""


def _seal(message: Message, *, place: Place, key: bytes, nonce: bytes, room: int) -> Sealed:
    content = canonical(message.content)
    return seal_evidence(content, place=place, key=key, nonce=nonce, room=room)
