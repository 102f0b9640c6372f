"""The house keeps its own rules: what stands where, and how large it may grow."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("policies", "cluster", "actors", "serve_app")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
SHELL_LINES_MAX = 120
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager", "handler", "core"}
CONFIG_SUFFIXES = {".toml", ".yaml", ".yml", ".cfg", ".ini"}
CONFIG_NAMES = {"Makefile", "run", ".gitignore"}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file()]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def test_policies_import_nothing_but_the_standard_library() -> None:
    for path in (ROOT / "policies").rglob("*.py"):
        strangers = imported(path) - set(sys.stdlib_module_names) - {"policies"}
        assert not strangers, f"{path} imports {strangers}"


def test_policies_know_no_clock_no_chance_and_no_waiting() -> None:
    for path in (ROOT / "policies").rglob("*.py"):
        assert not imported(path) & {"random", "secrets", "time", "asyncio", "os", "socket"}, path
        assert "async def" not in path.read_text(), path


def test_ray_enters_through_its_doors_only() -> None:
    doors = re.compile(
        r"actors/[a-z]+/actor\.py|actors/roster\.py|serve_app/deployments/[a-z]+\.py"
        r"|serve_app/app\.py|cluster/session\.py"
    )
    for path in modules():
        if "ray" in imported(path):
            assert doors.fullmatch(str(path.relative_to(ROOT))), path


@pytest.mark.parametrize("path", sorted(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_stays_small_enough_to_read(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MODULE_LINES_MAX
    if path.name == "actor.py":
        assert len(lines) <= SHELL_LINES_MAX
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, node.name


def test_modules_and_classes_are_named_for_what_they_are() -> None:
    for path in modules():
        assert path.stem not in FORBIDDEN_NAMES, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                assert not node.name.endswith("Manager"), f"{path}: {node.name}"


def test_a_package_opens_with_a_sentence_and_no_code() -> None:
    for path in modules():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, path
            assert isinstance(body[0], ast.Expr), path


def test_every_configuration_file_names_the_constitution() -> None:
    from cluster.constants import CONSTITUTIONAL_HASH

    for path in tracked():
        is_config = path.suffix in CONFIG_SUFFIXES or path.name in CONFIG_NAMES
        is_case = path.relative_to(ROOT).parts[:1] == ("tests",)
        if is_config and not is_case:
            assert CONSTITUTIONAL_HASH in path.read_text(), path


def test_nothing_committed_names_this_machine_or_a_registry() -> None:
    secret_places = re.compile(
        rf"{re.escape(str(ROOT.parent))}/|files\.pythonhosted|pypi\.org|registry\.npmjs"
    )
    for path in tracked():
        if path.suffix in {".png", ".tgz", ".gz"} or path == Path(__file__):
            continue
        found = secret_places.search(path.read_text(errors="replace"))
        assert found is None, f"{path}: {found}"


def test_each_top_level_name_has_one_owner() -> None:
    owners = importlib.metadata.packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, [])) <= {"acgs-agent-bus"}, package
