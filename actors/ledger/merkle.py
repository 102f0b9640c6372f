"""The tree of RFC 6962: hashes, growth, and the two proofs; pure functions over hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from actors.ledger.errors import ProofError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()

Range = Callable[[int, int], bytes]
"""Gives the hash of the subtree over the leaves from the first (included) to the last (not)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry."""
    # 0x00 marks a leaf and 0x01 a node, so that neither can pose as the other (RFC 6962, 2.1).
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash of the tree whose leaves, or equal complete subtrees, have these hashes."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []  # carried up as it is, never duplicated
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


class Peaks:
    """The compact range of a growing tree: one hash for each bit set in its size, highest first."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if size.bit_count() != len(hashes):
            raise ProofError(f"a tree of {size} leaves has {size.bit_count()} peaks")
        self.size = size
        self.hashes = list(hashes)

    def push(self, leaf: bytes, *, completed: Callable[[int, bytes], None] | None = None) -> None:
        """Add one leaf; `completed(height, hash)` hears of every subtree that becomes whole."""
        node, rest, height = leaf, self.size, 0
        while rest & 1:
            node = node_hash(self.hashes.pop(), node)
            rest >>= 1
            height += 1
            if completed is not None:
                completed(height, node)
        self.hashes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for peak in reversed(self.hashes[:-1]):
            root = node_hash(peak, root)
        return root

    def copy(self) -> Peaks:
        """Return the same tree, to grow on its own."""
        return Peaks(self.size, self.hashes)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    peaks = Peaks()
    for leaf in leaves:
        peaks.push(leaf)
    return peaks.root()


def split(size: int) -> int:
    """Return the largest power of two that is smaller than the size."""
    assert size > 1, "a single leaf cannot be split"
    return 1 << ((size - 1).bit_length() - 1)


def prove_inclusion(index: int, size: int, subtree: Range) -> list[bytes]:
    """Return the audit path of a leaf in the tree of this size (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    path: list[bytes] = []
    first, last = 0, size
    while last - first > 1:
        middle = first + split(last - first)
        if index < middle:
            path.append(subtree(middle, last))
            last = middle
        else:
            path.append(subtree(first, middle))
            first = middle
    return path[::-1]


def prove_consistency(first: int, second: int, subtree: Range) -> list[bytes]:
    """Return the proof that the tree of size `second` only grew from the one of size `first`.

    Raises ProofError for `first` = 0: every tree begins empty, so such a proof proves nothing.
    """
    _check_sizes(first, second)
    path: list[bytes] = []
    start, last, known = 0, second, True
    while last != first:
        middle = start + split(last - start)
        if first <= middle:
            path.append(subtree(middle, last))
            last = middle
        else:
            path.append(subtree(start, middle))
            start, known = middle, False
    if not known:
        path.append(subtree(start, first))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, *, path: Sequence[bytes], root: bytes
) -> None:
    """Raise ProofError unless the path leads from the leaf at this index to the root."""
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(path) != inner + border:
        raise ProofError(f"the path has {len(path)} hashes, not {inner + border}")
    _check_hashes([leaf, root, *path])
    node = leaf
    for height, sibling in enumerate(path[:inner]):
        node = node_hash(sibling, node) if index >> height & 1 else node_hash(node, sibling)
    for sibling in path[inner:]:
        node = node_hash(sibling, node)
    if node != root:
        raise ProofError(f"the path of leaf {index} does not lead to the root of size {size}")


def verify_consistency(
    first: int, second: int, *, path: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """Raise ProofError unless the second tree holds the whole first one (RFC 9162, 2.1.4.2)."""
    _check_sizes(first, second)
    _check_hashes([first_root, second_root, *path])
    rest = list(path)
    try:
        old, new = _regrown(first, second, rest, known=first_root)
    except IndexError:
        raise ProofError("the proof is too short") from None
    if rest:
        raise ProofError("the proof is too long")
    if old != first_root or new != second_root:
        raise ProofError(f"the tree of size {second} does not hold the tree of size {first}")


def _regrown(
    first: int, size: int, rest: list[bytes], *, known: bytes | None
) -> tuple[bytes, bytes]:
    """Return the roots of the first leaves and of all, taking siblings off the end of the proof.

    `known` is the root of the first tree while the whole of it is still in this subtree's view.
    """
    if first == size:
        whole = rest.pop() if known is None else known
        return whole, whole
    middle, sibling = split(size), rest.pop()
    if first <= middle:
        old, new = _regrown(first, middle, rest, known=known)
        return old, node_hash(new, sibling)
    old, new = _regrown(first - middle, size - middle, rest, known=None)
    return node_hash(sibling, old), node_hash(sibling, new)


def _check_sizes(first: int, second: int) -> None:
    if first <= 0:
        raise ProofError("a consistency proof from size 0 proves nothing and is always refused")
    if first > second:
        raise ProofError(f"a tree of {first} leaves cannot shrink to {second}")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofError(f"a hash has {HASH_SIZE} bytes")
