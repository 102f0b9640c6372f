"""The one who makes a log longer: write, sign, publish, and remember outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from actors.ledger import checkpoint as notes
from actors.ledger import log as logs
from actors.ledger.checkpoint import Checkpoint, Signer
from actors.ledger.entry import SEALED, seal
from actors.ledger.errors import TamperedError
from actors.ledger.log import Growth, Log
from actors.ledger.rotation import rotation_body
from actors.ledger.store import ROTATIONS, Folder
from actors.ledger.tiles import CHECKPOINT, HEIGHT, WIDTH, Tile, unbundle
from actors.ledger.verify import Progress, Visit, verify_log
from cluster.store import keys
from cluster.store.client import Call, Script

BEGINNING: Final = "0-0"  # before every stream id

# A mark only rises, and one size has one root. Replies nil, or the mark that stands against it.
_RAISE: Final = Script("""
local mark = redis.call('GET', KEYS[1])
if mark then
  local size, root = string.match(mark, '^[^\\n]*\\n(%d+)\\n([^\\n]*)\\n')
  if tonumber(size) > tonumber(ARGV[1]) then return mark end
  if tonumber(size) == tonumber(ARGV[1]) and root ~= ARGV[2] then return mark end
end
redis.call('SET', KEYS[1], ARGV[3])
return nil
""")


def raise_mark_call(checkpoint: Checkpoint) -> Call:
    """Return the call that remembers a published checkpoint outside the ledger's folder."""
    root = checkpoint.text.split("\n")[2]
    name = keys.high_water(checkpoint.origin)
    return Call(_RAISE, [name], [checkpoint.size, root, checkpoint.note])


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How to open a log: who signs it (newest key first), and what is remembered of it."""

    origin: str
    signers: Sequence[Signer]
    remembered: Sequence[Checkpoint] = ()
    progress: Progress | None = None
    visit: Visit | None = None


class Writer:
    """A log open for writing, verified from its first entry to its last.

    Not safe for use by several threads at once. An error leaves it as it was before, and
    StorageFailedError must end the process.
    """

    def __init__(self, folder: Folder, signers: Sequence[Signer], log: Log) -> None:
        self.folder = folder
        self.log = log
        self.checkpoint: Checkpoint | None = None
        self.last_id = BEGINNING
        self._signers = list(signers)

    @classmethod
    def open(cls, folder: Folder, opening: Opening) -> Writer:
        """Verify the log and return it. Raises TamperedError, naming what is wrong."""
        signers = opening.signers
        if folder.fetch(CHECKPOINT) is None:
            _refuse_missing(folder, opening)
            return cls(folder, signers, logs.EMPTY)
        verified = verify_log(
            folder,
            [signer.verifier for signer in signers],
            origin=opening.origin,
            remembered=opening.remembered,
            progress=opening.progress,
            visit=opening.visit,
        )
        writer = cls(folder, signers, logs.load(verified.checkpoint.size, folder.read))
        writer.checkpoint = verified.checkpoint
        writer.last_id = _last_id(writer)
        return writer

    def hand_over(self, *, at: str) -> bool:
        """Let the newest key follow the one before it, if it has not yet; say whether it did.

        The log names both keys in an entry, and both sign the checkpoint over it.
        """
        if self.checkpoint is None or self.log.size == 0:
            return False
        newest = self._signers[0].verifier
        _, signed = notes.opened(
            self.checkpoint.note, [signer.verifier for signer in self._signers]
        )
        if newest in signed:
            self._keep_hand_over()
            return False
        old = next(signer for signer in self._signers if signer.verifier in signed)
        entry = seal(rotation_body(old.verifier, newest, at=at), self.last_id)
        self.commit([entry], signers=[self._signers[0], old])
        self._keep_hand_over()
        return True

    def commit(
        self,
        entries: Sequence[bytes],
        *,
        files: Sequence[tuple[str, bytes]] = (),
        signers: Sequence[Signer] = (),
    ) -> Growth:
        """Make the log longer by these entries, durably; `files` are what the entries refer to.

        The checkpoint is replaced last. Whatever a crash leaves before that does not count, and
        the same entries again give the same bytes.
        """
        growth = logs.append(self.log, entries)
        self.folder.refuse_fork(growth.writes)
        self.folder.write([*files, *((tile.path, data) for tile, data in growth.writes)])
        origin = self._signers[0].name
        checkpoint = Checkpoint(origin, growth.log.size, growth.log.root)
        checkpoint = checkpoint.signed_by(signers or self._signers[:1])
        self.folder.publish(checkpoint.note)
        before = self.log.size
        self.log, self.checkpoint = growth.log, checkpoint
        self.folder.tidy(growth.writes, kept=_partials(before))
        return growth

    def _keep_hand_over(self) -> None:
        """Keep the checkpoint that two keys signed where those who know the old one find it."""
        if self.checkpoint is None or len(notes.key_ids(self.checkpoint.note)) < 2:
            return
        note, number = self.checkpoint.note.encode(), 0
        while (kept := self.folder.fetch(f"{ROTATIONS}/{number}")) is not None:
            if kept == note:
                return
            number += 1
        self.folder.write([(f"{ROTATIONS}/{number}", note)])


def _refuse_missing(folder: Folder, opening: Opening) -> None:
    if any(each.size for each in opening.remembered):
        size = max(each.size for each in opening.remembered)
        raise TamperedError(
            "ledger.checkpoint_missing",
            f"there is no checkpoint, and once there were {size} entries",
            log=opening.origin,
            path=CHECKPOINT,
        )
    if folder.fetch(Tile(None, 0).path) is not None:
        raise TamperedError(
            "ledger.checkpoint_missing",
            "there are full bundles but no checkpoint",
            log=opening.origin,
            path=CHECKPOINT,
        )


def _last_id(writer: Writer) -> str:
    last = writer.log.size - 1
    if last < 0:
        return BEGINNING
    entries = writer.log.bundle
    if not entries:
        full = Tile(None, last // WIDTH)
        entries = tuple(unbundle(writer.folder.read(full), path=full.path))
    entry = entries[-1]
    if not entry.startswith(SEALED):
        return f"0-{last}"
    wal_id = orjson.loads(entry)["wal_id"]
    assert isinstance(wal_id, str), "verify_log has compared it with the ones before"
    return wal_id


def _partials(size: int) -> dict[Tile, int]:
    """Return the widths of a log's partial tiles and bundle."""
    levels = [None, *range(1 + size.bit_length() // HEIGHT)]
    widths = {}
    for level in levels:
        number, width = divmod(size >> HEIGHT * (level or 0), WIDTH)
        if width:
            widths[Tile(level, number)] = width
    return widths
