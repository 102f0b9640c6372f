"""Logs: JSON lines, bound facts, and no secrets."""

from __future__ import annotations

import io
import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from cluster import logs
from cluster.settings import Environment, Settings
from policies.decision import Effect

from builders import a_message


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = root
    logging.root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def settings(env: Environment, log_level: str = "info") -> Settings:
    return Settings().model_copy(update={"env": env, "log_level": log_level})


class Lines:
    def __init__(self, env: Environment = Environment.PRODUCTION, log_level: str = "info") -> None:
        self.stream = io.StringIO()
        logs.configure(settings(env, log_level), stream=self.stream)
        self.log = logs.get_logger("here")

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def last(self) -> dict[str, Any]:
        return self.all()[-1]


def test_production_writes_one_json_object_a_line() -> None:
    lines = Lines()
    lines.log.info("decision.recorded", effect=Effect.ALLOW, index=7, text_size=3)
    line = lines.last()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "decision.recorded",
        "level": "info",
        "logger": "here",
        "effect": "allow",
        "index": 7,
        "text_size": 3,
    }


def test_a_line_break_stays_inside_its_line() -> None:
    lines = Lines()
    lines.log.info("agent.named", name='x"}\n{"event": "forged"}')
    assert len(lines.all()) == 1


def test_dev_writes_for_people() -> None:
    lines = Lines(Environment.DEV)
    lines.log.info("decision.recorded", effect="allow", password="hunter2")
    assert "decision.recorded" in lines.text
    assert "effect" in lines.text
    assert "hunter2" not in lines.text
    with pytest.raises(json.JSONDecodeError):
        lines.all()


def test_the_level_is_kept() -> None:
    lines = Lines(log_level="warning")
    lines.log.info("too.quiet")
    lines.log.warning("loud.enough")
    assert [line["event"] for line in lines.all()] == ["loud.enough"]


def test_bound_facts_are_in_every_event_of_the_block_and_in_none_after() -> None:
    lines = Lines()
    with logs.bound(request_id="r1", tenant="acme"):
        with logs.bound(decision_id="d1"):
            structlog.get_logger("elsewhere").info("inner.event")
        lines.log.info("outer.event")
    lines.log.info("later.event")
    inner, outer, later = lines.all()
    assert (inner["request_id"], inner["tenant"], inner["decision_id"]) == ("r1", "acme", "d1")
    assert "decision_id" not in outer
    assert "request_id" not in later


@pytest.mark.parametrize(
    "key",
    [
        *("authorization", "Authorization", "password", "db_password", "clientSecret", "token"),
        *("access_token", "X-API-Key", "api_key", "apikey", "cookie", "Set-Cookie", "wal_key"),
        *("content", "message_content", "text", "body", "payload", "prompt", "args", "message"),
    ],
)
def test_what_a_key_calls_secret_or_text_is_redacted_at_any_depth(key: str) -> None:
    lines = Lines()
    lines.log.info("x.y", **{key: "hunter2"})
    lines.log.info("x.y", headers=[{"deep": {key: ["hunter2"]}}])
    assert "hunter2" not in lines.text
    assert lines.all()[0][key] == logs.REDACTED


@pytest.mark.parametrize(
    "key", ["content_digest", "content_size", "content_type", "key", "context", "monkey", "tenant"]
)
def test_what_only_sounds_like_it_is_shown(key: str) -> None:
    lines = Lines()
    lines.log.info("x.y", **{key: "shown"})
    assert lines.last()[key] == "shown"


@pytest.mark.parametrize(
    "value",
    [
        "redis://user:hunter2@store:6379/1 refused",
        "redis://:hun@ter2/hunter2@store refused",
        "Authorization: Bearer hunter2hunter2",
        "sent Basic aHVudGVyMjpodW50ZXIy",
        "eyJhbGciOi.hunter2hunter2.sig",
        "password=hunter2&x=1",
        'access_token: "hunter2 with spaces"',
        "{'api-key': 'hunter2'}",
    ],
)
def test_a_credential_is_redacted_wherever_it_stands(value: str) -> None:
    lines = Lines()
    lines.log.info("x.y", error=value)
    lines.log.info(value)
    lines.log.info("x.y", error=ConnectionError(value), items=[value])
    for secret in ("hunter2", "aHVudGVyMjpodW50ZXIy", "ter2"):
        assert secret not in lines.text


def test_a_credential_at_the_cut_of_a_long_text_is_not_halved_into_the_open() -> None:
    lines = Lines()
    for shift in range(0, 40, 3):
        lines.log.info("x.y", error="a" * (8192 - shift) + " redis://user:hunter2@store")
    assert "hunter2" not in lines.text
    assert "hunt" not in lines.text


def test_a_value_that_is_not_plain_data_shows_as_its_type() -> None:
    lines = Lines()
    message = a_message(content={"text": "the secret plan"})
    lines.log.info("x.y", sent=message, key=SecretStr("hunter2"), raw=b"hunter2", here=Path("/a"))
    line = lines.last()
    assert line["sent"] == "<Message>"
    assert line["raw"] == "<bytes>"
    assert line["here"] == "/a"
    assert "plan" not in lines.text
    assert "hunter2" not in lines.text


def test_ids_and_times_are_readable() -> None:
    lines = Lines()
    known = uuid.UUID(int=7)
    lines.log.info("x.y", id=known, at=a_message().sent_at)
    assert lines.last()["id"] == str(known)
    assert lines.last()["at"].startswith("2026-11-23T12:00")


@pytest.mark.parametrize("env", [Environment.PRODUCTION, Environment.DEV])
def test_an_exception_shows_where_and_not_what_was_in_its_variables(env: Environment) -> None:
    lines = Lines(env)
    # Put together at run time, so that no line of this file shows them in a trace.
    hidden = [f"{word}-{number}" for word, number in (("local", 1), ("entered", 2), ("url", 3))]

    class Body(BaseModel):
        size: int

    def fails(variable: str) -> None:
        assert variable
        try:
            Body.model_validate({"size": hidden[1]})
        except ValidationError as error:
            raise ConnectionError(f"redis://:{hidden[2]}@store refused") from error

    try:
        fails(hidden[0])
    except ConnectionError:
        lines.log.exception("request.failed")
    assert not [secret for secret in hidden if secret in lines.text]
    for shown in ("request.failed", "ConnectionError", "ValidationError", "in fails", "store"):
        assert shown in lines.text.replace('"name":"fails"', "in fails")


def test_what_libraries_log_is_json_and_redacted_too() -> None:
    lines = Lines()
    logging.getLogger("some.library").warning("lost redis://:hunter2@store after %d s", 3)
    line = lines.last()
    assert line["logger"] == "some.library"
    assert line["level"] == "warning"
    assert "after 3 s" in line["event"]
    assert "hunter2" not in lines.text


def test_libraries_that_name_every_address_are_quiet() -> None:
    lines = Lines(log_level="debug")
    for library in ("httpx", "httpcore.connection"):
        logging.getLogger(library).info("HTTP Request: POST https://hooks.example.org/PATHSECRET")
    logging.getLogger("httpx").warning("a connection was lost")
    assert "PATHSECRET" not in lines.text
    assert "a connection was lost" in lines.text


def test_a_structure_without_end_is_cut() -> None:
    lines = Lines()
    loop: dict[str, object] = {}
    loop["again"] = loop
    lines.log.info("x.y", loop=loop, many=list(range(1000)), long="x" * 100_000)
    line = lines.last()
    assert len(line["many"]) == 64
    assert len(line["long"]) == 8192


def test_configuring_twice_writes_once() -> None:
    Lines()
    lines = Lines()
    lines.log.info("x.y")
    logging.getLogger("some.library").warning("hello")
    assert len(lines.all()) == 2
