"""What agents write is shown to people and never obeyed; programs get whole JSON."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from serve_app.cli import output
from serve_app.cli.output import Column, Format, plain, say, show_decision, show_rows

ID = "01a208aa-425a-7eb4-a81f-b7174136d94b"


def test_escape_sequences_and_overrides_are_shown_not_obeyed() -> None:
    assert plain("\x1b[2J\u202egnp\x9b1m\r\n") == r"\x1b[2J\u202egnp\x9b1m\r\n"
    assert plain("Grüße, 世界 [red]") == "Grüße, 世界 [red]"


def test_markup_in_data_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]x[/] [/nonsense]")
    show_rows([{"a": "[red]x[/]"}], [Column("a")], form=Format.TABLE)
    out = capsys.readouterr().out
    assert "[bold]x[/] [/nonsense]" in out
    assert "[red]x[/]" in out


def test_no_id_is_cut_or_folded_at_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {"text": "long words " * 20, "id": ID}
    show_rows([row], [Column("text"), Column("id", whole=True)], form=Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert any(ID in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
def test_json_is_whole_however_long_and_strange(
    capsys: pytest.CaptureFixture[str], form: Format
) -> None:
    row = {"text": "\x1b[2J" + "long " * 200, "nested": {"a": [1, None]}}
    show_rows([row], (), form=form)
    out = capsys.readouterr().out
    read = json.loads(out)
    assert read == ([row] if form is Format.JSON else row)
    assert "\x1b" not in out
    assert form is Format.JSON or out.count("\n") == 1


def test_no_colour_is_shown_when_the_environment_asks_for_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(output, "console", Console(force_terminal=True))
    say(output.coloured("deny"))
    assert "\x1b[3" not in capsys.readouterr().out


def test_a_decision_shows_its_reasons_its_duties_and_its_leaf(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reason = {"code": "policy.x", "rule": "acgs.x", "message": "because", "remedy": "do this"}
    show_decision(
        {
            "effect": "deny",
            "lane": "fast",
            "impact": {"score": 0.25},
            "reasons": [reason],
            "obligations": [{"id": "1", "type": "redact", "properties": {"path": "/text"}}],
            "decision_id": ID,
            "receipt": {"leaf_hash": "abc="},
        },
        form=Format.TABLE,
    )
    out = capsys.readouterr().out
    for part in ("DENY", "policy.x", "because", "acgs.x", "do this", "redact", ID, "abc="):
        assert part in out
