"""What may be wrong with a ledger. Each error has its own code, and names the place."""

from __future__ import annotations

from policies.errors import GovernanceError


class LedgerError(GovernanceError):
    """The ledger cannot be trusted, or cannot be served."""

    code = "ledger.error"
    status = 503


class TamperedError(LedgerError):
    """A log is not what its signed checkpoint, or somebody's memory of it, says it is.

    `code` names the kind of damage, `log` the origin, `path` the file, and `leaf` the index of
    the entry where it shows, when it shows at one.
    """

    def __init__(
        self, code: str, detail: str, *, log: str = "", path: str = "", leaf: int | None = None
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.log = log
        self.path = path
        self.leaf = leaf

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, ((self.code, self.detail, self.log, self.path, self.leaf),)

    def __str__(self) -> str:
        places = (
            f"log {self.log}" if self.log else "",
            f"file {self.path}" if self.path else "",
            "" if self.leaf is None else f"leaf {self.leaf}",
        )
        where = ", ".join(place for place in places if place)
        return f"{self.detail} ({where})" if where else self.detail


def _rebuild(facts: tuple[str, str, str, str, int | None]) -> TamperedError:
    code, detail, log, path, leaf = facts
    return TamperedError(code, detail, log=log, path=path, leaf=leaf)


class WalRecordError(LedgerError):
    """A write-ahead record was not written by us, or not whole: its tenant's log stops here."""

    def __init__(self, code: str, entry_id: str, detail: str) -> None:
        super().__init__(code, entry_id, detail)
        self.code = code
        self.entry_id = entry_id
        self.detail = detail

    def __str__(self) -> str:
        return f"write-ahead record {self.entry_id}: {self.detail}"


class ProofError(LedgerError):
    """A proof does not prove what it was shown for."""

    code = "ledger.proof_invalid"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class LockedError(LedgerError):
    """Another process is the sequencer of this folder."""

    code = "ledger.locked"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return f"another process writes the ledger in {self.folder}; stop it first"


class StorageFailedError(LedgerError):
    """The disk refused a write or an fsync: what is on it is unknown, so the process must end."""

    code = "ledger.storage_failed"

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        return f"writing {self.path} failed: {self.detail}; restart the sequencer"
