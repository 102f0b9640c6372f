"""Only an unfinished write may be cut off the append-only file."""

from __future__ import annotations

import pickle

import pytest

from cluster.store.tail import StoreDamagedError, is_torn


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


_XADD = _command(b"XADD", b"acgs:{t}:wal", b"1-0", b"entry", b"x" * 40)
_MULTI = _command(b"MULTI")
_EXEC = _command(b"EXEC")


@pytest.mark.parametrize("length", range(1, len(_XADD)))
def test_every_beginning_of_a_command_is_torn(length: int) -> None:
    assert is_torn(_XADD[:length])


@pytest.mark.parametrize("length", range(1, len(_MULTI + _XADD + _XADD + _EXEC)))
def test_every_beginning_of_a_transaction_is_torn(length: int) -> None:
    assert is_torn((_MULTI + _XADD + _XADD + _EXEC)[:length])


@pytest.mark.parametrize("torn", [b"", _XADD[:20], _MULTI + _XADD[:-1]])
def test_zeros_that_a_file_system_left_are_torn(torn: bytes) -> None:
    assert is_torn(torn + b"\0" * 4096)


@pytest.mark.parametrize(
    "damaged",
    [
        b"garbage\r\n",
        b"*x",
        b"$4",
        b"*" + b"1" * 11,
        b"*2\r\n*1",
        _XADD,  # whole commands are never a tail: the checker stopped for another reason
        _XADD + _XADD[:10],
        _command(b"XADD", b"k").replace(b"k\r\n", b"kk\r"),
        b"*2\r\n$9999\r\nXADD\r\n$1\r\nk\r\n" + _XADD,  # a damaged length that swallows the rest
        _MULTI + _XADD + _EXEC,
        _MULTI + _XADD + _MULTI + _XADD[:5],  # the end of the first was damaged
        _MULTI + _XADD + b"garbage",
    ],
)
def test_what_was_damaged_is_not_torn(damaged: bytes) -> None:
    assert not is_torn(damaged)


def test_the_error_of_a_damaged_file_survives_a_journey() -> None:
    error = pickle.loads(pickle.dumps(StoreDamagedError("/a/b.aof", 7, 12)))
    assert str(error) == str(StoreDamagedError("/a/b.aof", 7, 12))
    assert "truncate -s 7 /a/b.aof" in str(error)
    assert (error.code, error.retryable, error.status) == ("store.damaged", False, 503)
