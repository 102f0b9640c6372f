"""What the documents say about settings, commands and files is so."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import typer.main
from readme import README, between
from typer.core import TyperGroup

from cluster.settings import Settings
from serve_app.cli.main import app

ROOT = README.parent
_OURS = ("ACGS_", "REDIS_", "CONSTITUTIONAL_", "ONNX_", "TRANSFORM")


def commands(group: TyperGroup, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, command in group.commands.items():
        full = f"{prefix}{name}"
        names |= commands(command, f"{full} ") if isinstance(command, TyperGroup) else {full}
    return names


def test_the_readme_lists_every_setting_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(_OURS)]:
        monkeypatch.delenv(name)
    rows = re.findall(r"^\| `(\w+)` \| (\S*) ?\| .+ \|$", between("settings"), re.MULTILINE)
    listed = {name: default.strip("`") for name, default in rows}
    settings = Settings()
    defaults = settings.describe() | {
        "ACGS_DATA_DIR": str(settings.data_dir.relative_to(Path.cwd()))
    }
    assert listed == defaults


def test_the_document_of_the_command_names_every_command() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    rows = re.findall(r"^\| `acgs ([^`]+)` \|", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    named: set[str] = set()
    for row in rows:
        words = [word for word in row.split() if re.fullmatch(r"[a-z][a-z|\\-]*", word)]
        *group_name, last = words
        named |= {" ".join([*group_name, each]) for each in last.split("\\|")}
    assert named == commands(group)


@pytest.mark.parametrize(
    "page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    described = set(re.findall(r"^([a-z]+):.*## .+$", makefile, re.MULTILINE))
    assert described == set(phony[1].split())
