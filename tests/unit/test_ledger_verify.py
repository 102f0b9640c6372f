"""Every way to damage a log is found, and named: which kind, which file, which leaf."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.ledger.checkpoint import Checkpoint, Signer, parse
from actors.ledger.entry import seal
from actors.ledger.errors import TamperedError
from actors.ledger.merkle import leaf_hash
from actors.ledger.store import Folder
from actors.ledger.tiles import bundle, unbundle
from actors.ledger.verify import Verified, verify_log
from actors.ledger.writer import Opening, Writer

ORIGIN = "bus.example/t/acme"
OLD, NEW, OTHER = (Signer(ORIGIN, bytes([n]) * 32) for n in (1, 2, 3))
SIZE = 700


def an_entry(number: int, word: str = "kept") -> bytes:
    return seal(
        b'{"kind":"refusal","n":%d,"v":1,"w":"%b"}' % (number, word.encode()), f"{number}-1"
    )


def write(folder: Path, entries: list[bytes], *, signer: Signer = OLD, batch: int = 97) -> Writer:
    writer = Writer.open(Folder(folder), Opening(origin=ORIGIN, signers=[signer]))
    for first in range(0, len(entries), batch):
        writer.commit(entries[first : first + batch])
    return writer


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write(folder, [an_entry(n) for n in range(SIZE)])
    return folder


@pytest.fixture
def log(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "log"))


def verify(folder: Path, *remembered: Checkpoint, key: Signer = OLD) -> Verified:
    return verify_log(Folder(folder), [key.verifier], origin=ORIGIN, remembered=remembered)


def refusal(folder: Path, *remembered: Checkpoint, key: Signer = OLD) -> TamperedError:
    with pytest.raises(TamperedError) as found:
        verify(folder, *remembered, key=key)
    return found.value


def checkpoint_of(folder: Path) -> Checkpoint:
    return parse((folder / "checkpoint").read_text())


def change(path: Path, edit: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    edit(data)
    path.write_bytes(bytes(data))


def flip(at: int) -> Callable[[bytearray], None]:
    def edit(data: bytearray) -> None:
        data[at] ^= 1

    return edit


def test_a_sound_log_verifies_and_says_how_far_it_came(log: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = verify_log(
        Folder(log), [OLD.verifier], progress=lambda done, size: seen.append((done, size))
    )
    assert found.checkpoint.size == SIZE
    assert found.signed_by == [OLD.verifier]
    assert seen[-1] == (SIZE, SIZE)


def test_defect_15_one_bit_in_an_entry_is_found_at_its_leaf(log: Path) -> None:
    path = log / "tile/entries/001"
    entries = unbundle(path.read_bytes())
    before = len(bundle(entries[:44]))
    change(path, flip(before + 2 + 20))
    found = refusal(log)
    assert (found.code, found.leaf, found.path) == (
        "ledger.entry_altered",
        300,
        "tile/entries/001",
    )
    assert "leaf 300" in str(found)


@pytest.mark.parametrize("number", [0, 255, 256, 511, 512, 699])
def test_an_entry_that_says_something_else_is_found_at_its_leaf(log: Path, number: int) -> None:
    name = f"{number // 256:03d}"
    path = log / f"tile/entries/{name}"
    path = path if path.exists() else log / f"tile/entries/{name}.p/188"
    entries = unbundle(path.read_bytes())
    entries[number % 256] = an_entry(number, "lies")
    path.write_bytes(bundle(entries))
    found = refusal(log)
    assert (found.code, found.leaf) == ("ledger.entry_altered", number)


def test_one_bit_in_a_hash_tile_is_found_and_told_from_an_entry(log: Path) -> None:
    change(log / "tile/0/001", flip(32 * 44))
    found = refusal(log)
    assert (found.code, found.leaf, found.path) == ("ledger.tile_altered", 300, "tile/0/001")


def test_one_bit_in_an_upper_tile_is_found(log: Path) -> None:
    change(log / "tile/1/000.p/2", flip(40))
    found = refusal(log)
    assert (found.code, found.leaf, found.path) == ("ledger.tile_altered", 256, "tile/1/000.p/2")


@pytest.mark.parametrize(
    "path", ["tile/entries/000", "tile/0/001", "tile/1/000.p/2", "tile/entries/001"]
)
def test_a_tile_that_is_gone_is_named(log: Path, path: str) -> None:
    (log / path).unlink()
    found = refusal(log)
    assert (found.code, found.path) == ("ledger.tile_missing", path)


def test_a_log_whose_end_was_cut_off_is_truncated(log: Path) -> None:
    shutil.rmtree(log / "tile/entries/002.p")
    shutil.rmtree(log / "tile/0/002.p")
    found = refusal(log)
    assert (found.code, found.leaf) == ("ledger.truncated", 512)


def test_a_bundle_that_lost_its_last_entries_is_truncated(log: Path) -> None:
    path = log / "tile/entries/002.p/188"
    path.write_bytes(bundle(unbundle(path.read_bytes())[:-3]))
    found = refusal(log)
    assert (found.code, found.leaf) == ("ledger.truncated", 697)


def test_a_bundle_that_ends_inside_an_entry_is_malformed(log: Path) -> None:
    change(log / "tile/entries/001", lambda data: data.__delitem__(slice(-5, None)))
    assert refusal(log).code == "ledger.bundle_malformed"


def test_entries_that_changed_places_are_reordered(log: Path) -> None:
    path = log / "tile/entries/001"
    entries = unbundle(path.read_bytes())
    entries[10], entries[20] = entries[20], entries[10]
    path.write_bytes(bundle(entries))
    found = refusal(log)
    assert (found.code, found.leaf) == ("ledger.reordered", 266)


def test_a_signed_log_in_another_order_than_it_was_recorded_is_reordered(tmp_path: Path) -> None:
    entries = [an_entry(n) for n in range(20)]
    entries[7], entries[8] = entries[8], entries[7]
    write(tmp_path, entries)
    found = refusal(tmp_path)
    assert (found.code, found.leaf) == ("ledger.reordered", 8)


def test_files_rewritten_to_fit_one_another_do_not_fit_the_checkpoint(
    log: Path, tmp_path: Path
) -> None:
    entries = [an_entry(n, "lies" if n == 300 else "kept") for n in range(SIZE)]
    write(tmp_path / "forged", entries, signer=OTHER)
    middle = verify(log).checkpoint
    shutil.rmtree(log / "tile")
    shutil.copytree(tmp_path / "forged/tile", log / "tile")
    assert refusal(log).code == "ledger.root_mismatch"
    assert checkpoint_of(log) == middle


def test_a_checkpoint_of_another_key_is_refused(log: Path, tmp_path: Path) -> None:
    assert refusal(log, key=OTHER).code == "ledger.key_unknown"
    shutil.copy(log / "checkpoint", tmp_path / "note")
    note = (log / "checkpoint").read_text()
    (log / "checkpoint").write_text(note.replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n"))
    assert refusal(log).code == "ledger.signature_invalid"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "bus.example/t/acme\n",
        "bus.example/t/acme\n700\nAAAA\n\n— x AAAA\n",
        "bus.example/t/acme\n0700\n" + "A" * 43 + "=\n\n— x AAAAAAAA\n",
        "bus.example/t/acme\n700\n" + "A" * 43 + "=\n",
    ],
)
def test_what_is_no_checkpoint_is_malformed(log: Path, note: str) -> None:
    (log / "checkpoint").write_text(note)
    assert refusal(log).code == "ledger.checkpoint_malformed"


def test_a_missing_checkpoint_and_another_log_are_named(log: Path, tmp_path: Path) -> None:
    with pytest.raises(TamperedError) as found:
        verify_log(Folder(log), [OLD.verifier], origin="bus.example/t/other")
    assert found.value.code == "ledger.origin_mismatch"
    assert refusal(tmp_path / "nowhere").code == "ledger.checkpoint_missing"


def test_a_roll_back_to_an_older_signed_checkpoint_needs_a_memory(
    log: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    write(old, [an_entry(n) for n in range(600)])
    verify(old)
    assert refusal(old, checkpoint_of(log)).code == "ledger.rolled_back"


def test_a_fork_of_the_same_size_needs_a_memory(log: Path, tmp_path: Path) -> None:
    fork = tmp_path / "fork"
    write(fork, [an_entry(n, "lies" if n == 5 else "kept") for n in range(SIZE)])
    verify(fork)
    assert refusal(fork, checkpoint_of(log)).code == "ledger.forked"


def test_a_rewriting_by_the_holder_of_the_key_needs_a_memory_and_is_bracketed(
    log: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    write(first, [an_entry(n) for n in range(300)])
    rewritten = tmp_path / "rewritten"
    write(rewritten, [an_entry(n, "lies" if n == 400 else "kept") for n in range(SIZE + 50)])
    verify(rewritten)
    found = refusal(rewritten, checkpoint_of(first), checkpoint_of(log))
    assert (found.code, found.leaf) == ("ledger.rewritten", 300)


def test_an_error_of_the_ledger_survives_a_journey_between_processes(log: Path) -> None:
    import pickle

    change(log / "tile/0/001", flip(0))
    found = refusal(log)
    copy = pickle.loads(pickle.dumps(found))
    assert (copy.code, copy.leaf, str(copy)) == (found.code, found.leaf, str(found))


def rotate(folder: Path, *signers: Signer) -> Writer:
    writer = Writer.open(Folder(folder), Opening(origin=ORIGIN, signers=signers))
    assert writer.hand_over(at="2026-11-23T12:00:00.000000Z")
    return writer


def test_who_knows_the_first_key_can_follow_to_the_newest(log: Path) -> None:
    rotate(log, NEW, OLD).commit([an_entry(SIZE)])
    rotate(log, OTHER, NEW, OLD).commit([an_entry(SIZE + 1)])
    found = verify(log, key=OLD)
    assert found.signed_by == [OTHER.verifier]
    assert found.checkpoint.size == SIZE + 4
    assert verify(log, key=NEW).signed_by == [OTHER.verifier]
    assert verify(log, key=OTHER).signed_by == [OTHER.verifier]


def test_a_hand_over_happens_once(log: Path) -> None:
    rotate(log, NEW, OLD)
    writer = Writer.open(Folder(log), Opening(origin=ORIGIN, signers=[NEW, OLD]))
    assert not writer.hand_over(at="later")
    assert writer.log.size == SIZE + 1
    assert len(list((log / "rotation").iterdir())) == 1


def test_a_hand_over_that_was_cut_short_is_finished(log: Path) -> None:
    rotate(log, NEW, OLD)
    shutil.rmtree(log / "rotation")
    assert verify(log, key=OLD).checkpoint == verify(log, key=NEW).checkpoint
    writer = Writer.open(Folder(log), Opening(origin=ORIGIN, signers=[NEW, OLD]))
    assert not writer.hand_over(at="later")
    writer.commit([an_entry(SIZE)])
    assert verify(log).signed_by == [NEW.verifier]


def test_a_key_that_the_old_one_never_signed_is_not_followed(log: Path) -> None:
    rotate(log, NEW, OLD).commit([an_entry(SIZE)])
    shutil.rmtree(log / "rotation")
    assert refusal(log).code == "ledger.key_unknown"
    (log / "rotation").mkdir()
    shutil.copy(log / "checkpoint", log / "rotation/0")
    assert refusal(log).code == "ledger.key_unknown"


def test_a_key_named_after_the_last_signature_of_the_old_one_is_not_followed(
    tmp_path: Path, log: Path
) -> None:
    # A thief of the files puts a hand-over to a key of their own at the end, and signs with that.
    from actors.ledger.rotation import rotation_body

    entries = [an_entry(n) for n in range(SIZE)]
    theft = seal(rotation_body(OLD.verifier, OTHER.verifier, at="now"), f"{SIZE}-1")
    write(tmp_path / "thief", [*entries, theft], signer=OTHER)
    (tmp_path / "thief/rotation").mkdir()
    shutil.copy(log / "checkpoint", tmp_path / "thief/rotation/0")
    assert refusal(tmp_path / "thief").code == "ledger.key_unknown"


def test_the_leaf_of_an_entry_covers_its_place_in_the_write_ahead_stream() -> None:
    assert leaf_hash(seal(b"{}", "1-1")) != leaf_hash(seal(b"{}", "1-2"))
