"""A laptop makes its keys once, for its owner only; elsewhere they are set, sound and apart."""

import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from cluster import keyring as room
from cluster.errors import ConfigurationError
from cluster.keyring import Keyring, load_keyring, rotate_ledger_key
from cluster.settings import Environment, Settings

SEEDS = [f"{n:02x}" * 32 for n in range(1, 6)]


def _laptop(folder: Path, **changes: object) -> Settings:
    return Settings(data_dir=folder).model_copy(update=changes)


def _production(folder: Path, **changes: object) -> Settings:
    secrets = {
        "env": Environment.PRODUCTION,
        "ledger_key": SecretStr(f"{SEEDS[0]},{SEEDS[1]}"),
        "wal_key": SecretStr(SEEDS[2]),
        "evidence_key": SecretStr(SEEDS[3]),
    }
    return _laptop(folder, **{**secrets, **changes})


def test_a_laptop_makes_its_keys_once(tmp_path: Path) -> None:
    made = load_keyring(_laptop(tmp_path))
    assert load_keyring(_laptop(tmp_path)) == made
    assert load_keyring(_laptop(tmp_path / "other")) != made
    assert [len(key) for key in (*made.ledger_seeds, made.wal_key, made.evidence_key)] == [32] * 3


def test_only_the_owner_may_read_them_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_keyring(_laptop(tmp_path))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert modes == {"ledger-0001.seed": 0o600, "wal.key": 0o600, "evidence.key": 0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_keyring_never_shows_its_keys(tmp_path: Path) -> None:
    keyring = load_keyring(_laptop(tmp_path))
    for shown in (repr(keyring), str(keyring), f"{keyring}"):
        assert shown == "Keyring(1 ledger seeds, wal key, evidence key)"


def test_a_keyring_is_frozen_and_travels(tmp_path: Path) -> None:
    keyring = load_keyring(_laptop(tmp_path))
    with pytest.raises(AttributeError):
        keyring.wal_key = b""  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(keyring)) == keyring


def _load_in_a_process(folder: Path) -> Keyring:
    return load_keyring(Settings(data_dir=folder))


def test_processes_that_race_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for attempt in range(10):
            folder = tmp_path / str(attempt)
            keyrings = pool.map(_load_in_a_process, [folder] * 8, chunksize=1)
            assert all(keyring == keyrings[0] for keyring in keyrings)
            assert len(list((folder / "keys").iterdir())) == 3, "no draft is left behind"


def test_rotation_adds_a_newer_seed_and_keeps_the_old(tmp_path: Path) -> None:
    first = load_keyring(_laptop(tmp_path))
    assert rotate_ledger_key(_laptop(tmp_path)) == 2
    assert rotate_ledger_key(_laptop(tmp_path)) == 3
    third = load_keyring(_laptop(tmp_path))
    assert third.ledger_seeds[:1] == first.ledger_seeds
    assert len(set(third.ledger_seeds)) == 3
    assert third.wal_key == first.wal_key


def test_rotation_of_nothing_first_makes_what_it_rotates(tmp_path: Path) -> None:
    assert rotate_ledger_key(_laptop(tmp_path)) == 2
    assert len(load_keyring(_laptop(tmp_path)).ledger_seeds) == 2


def test_rotations_that_race_each_add_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(rotate_ledger_key, [_laptop(tmp_path)] * 8))
    assert sorted(numbers) == list(range(2, 10))


def test_rotation_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LEDGER_SEEDS_MAX", 2)
    rotate_ledger_key(_laptop(tmp_path))
    with pytest.raises(ConfigurationError, match="already holds 2"):
        rotate_ledger_key(_laptop(tmp_path))


def test_production_takes_its_keys_from_the_environment(tmp_path: Path) -> None:
    keyring = load_keyring(_production(tmp_path))
    assert keyring.ledger_seeds == (b"\x01" * 32, b"\x02" * 32)
    assert (keyring.wal_key, keyring.evidence_key) == (b"\x03" * 32, b"\x04" * 32)
    assert not (tmp_path / "keys").exists()


def test_a_set_key_wins_on_a_laptop_too(tmp_path: Path) -> None:
    settings = _laptop(tmp_path, ledger_key=SecretStr(f" {SEEDS[0].upper()}\n"))
    assert load_keyring(settings).ledger_seeds == (b"\x01" * 32,)
    assert not list((tmp_path / "keys").glob("ledger-*"))


@pytest.mark.parametrize("field", ["ledger_key", "wal_key", "evidence_key"])
def test_production_makes_no_key_of_its_own(tmp_path: Path, field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"ACGS_{field.upper()} is not set.*openssl"):
        load_keyring(_production(tmp_path, **{field: None}))
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("field", ["ledger_key", "wal_key", "evidence_key"])
@pytest.mark.parametrize(
    "value", ["", "zz" * 32, "aa" * 31, "aa" * 33, "aa " * 32, "ł" * 64, SEEDS[4] + ","]
)
def test_a_key_that_is_none_is_refused_by_name_and_not_shown(
    tmp_path: Path, field: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"ACGS_{field.upper()} must hold 64") as caught:
        load_keyring(_production(tmp_path, **{field: SecretStr(value)}))
    assert not value or value not in str(caught.value)


def test_seeds_have_a_bound(tmp_path: Path) -> None:
    many = ",".join(f"{n:064x}" for n in range(65))
    with pytest.raises(ConfigurationError, match="more than 64"):
        load_keyring(_production(tmp_path, ledger_key=SecretStr(many)))


@pytest.mark.parametrize(
    "changes",
    [
        {"wal_key": SecretStr(SEEDS[0])},
        {"wal_key": SecretStr(SEEDS[3])},
        {"ledger_key": SecretStr(f"{SEEDS[0]},{SEEDS[0].upper()}")},
    ],
)
def test_no_key_serves_two_ends(tmp_path: Path, changes: dict[str, SecretStr]) -> None:
    with pytest.raises(ConfigurationError, match="the same key"):
        load_keyring(_production(tmp_path, **changes))


def test_rotation_in_production_says_how(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="append a comma and a new one"):
        rotate_ledger_key(_production(tmp_path))
    with pytest.raises(ConfigurationError, match="append a comma and a new one"):
        rotate_ledger_key(_laptop(tmp_path, ledger_key=SecretStr(SEEDS[0])))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_keyring(_laptop(tmp_path))
    (tmp_path / "keys" / "wal.key").chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_keyring(_laptop(tmp_path))


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64, b"a" * 100_000])
def test_a_damaged_key_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    load_keyring(_laptop(tmp_path))
    damaged = tmp_path / "keys" / "ledger-0001.seed"
    damaged.write_bytes(content)
    with pytest.raises(ConfigurationError, match="ledger-0001"):
        load_keyring(_laptop(tmp_path))
    assert damaged.read_bytes() == content


def test_a_link_to_elsewhere_is_no_key(tmp_path: Path) -> None:
    load_keyring(_laptop(tmp_path))
    key = tmp_path / "keys" / "wal.key"
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_keyring(_laptop(tmp_path))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where a folder should be")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        load_keyring(_laptop(tmp_path))
