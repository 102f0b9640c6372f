"""Following a stream: every event once, across connections that are lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from serve_app.cli import stream
from serve_app.cli.client import Client, ProblemError
from serve_app.cli.exits import Exit
from serve_app.cli.stream import Told, events, follow

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PAUSE_S", 0.0)


class Line:
    """A bus that answers each connection by the next of these, and who was asked for what."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.asked: list[str | None] = []
        self.lost: list[str] = []

    def connect(self) -> Client:
        answer = next(self._answers)

        def noted(request: httpx.Request) -> httpx.Response:
            self.asked.append(request.headers.get("Last-Event-ID"))
            return answer(request)

        client = Client("http://bus.example", "token")
        client._http = httpx.Client(
            base_url="http://bus.example", transport=httpx.MockTransport(noted)
        )
        return client

    def follow(self) -> Iterator[Told]:
        return follow(self.connect, "/v1/reviews/stream", on_lost=self.lost.append)


def text(body: str) -> Answer:
    return lambda _: httpx.Response(200, text=body)


def cut(body: str) -> Answer:
    """Some of a stream, and then the connection breaks."""

    def pieces() -> Iterator[bytes]:
        yield body.encode()
        raise httpx.ReadError("the peer is gone")

    return lambda _: httpx.Response(200, content=pieces())


def silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def a_problem(status: int) -> Answer:
    problem = {"status": status, "code": "some.code", "detail": "no", "request_id": "r1"}
    return lambda _: httpx.Response(status, json=problem)


def test_events_are_read_as_the_standard_says() -> None:
    lines = [
        *("retry: 1000", "id: 1-0", ""),
        *(": still here", ""),
        *("event: review", "id:2-0", "data: {", "data: }", "unheard-of", ""),
        *("event: review", "data: cut off"),
    ]
    assert list(events(lines)) == [Told("1-0", "", ""), Told("2-0", "review", "{\n}")]


def test_a_connection_that_ends_is_opened_again_behind_its_last_event() -> None:
    line = Line(
        text("retry: 1000\nid: 1-0\n\nevent: review\nid: 2-0\ndata: a\n\n"),
        text("event: review\nid: 3-0\ndata: b\n\n"),
    )
    following = line.follow()
    assert [next(following).data, next(following).data] == ["a", "b"]
    assert line.asked == [None, "2-0"]
    assert line.lost == []


def test_where_a_stream_stands_is_known_before_its_first_event() -> None:
    line = Line(cut("id: 1-0\n\n"), text("id: 1-0\n\nid: 2-0\ndata: a\n\n"))
    assert next(line.follow()).data == "a"
    assert line.asked == [None, "1-0"]


def test_a_connection_that_breaks_or_is_refused_for_now_is_told_and_tried_again() -> None:
    problem = json.dumps({"status": 503, "code": "store", "detail": "the store is down"})
    line = Line(
        cut("id: 2-0\ndata: a\n\nid: 3-0\ndata: half of it"),
        silent,
        a_problem(503),
        text(f"event: problem\ndata: {problem}\n\n"),
        text("id: 3-0\ndata: b\n\n"),
    )
    following = line.follow()
    assert [next(following).data, next(following).data] == ["a", "b"]
    assert line.asked == [None, "2-0", "2-0", "2-0", "2-0"]
    assert len(line.lost) == 4


def test_a_bus_that_never_answered_is_not_waited_for() -> None:
    with pytest.raises(ProblemError) as caught:
        next(Line(silent).follow())
    assert caught.value.exit is Exit.UNAVAILABLE


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_ends_it_whenever_it_comes(status: int) -> None:
    told = json.dumps({"status": status, "code": "some.code", "detail": "no"})
    for answers in (
        [a_problem(status)],
        [text("id: 1-0\n\n"), a_problem(status)],
        [text(f"id: 1-0\n\nevent: problem\ndata: {told}\n\n")],
    ):
        with pytest.raises(ProblemError) as caught:
            next(Line(*answers).follow())
        assert caught.value.exit is Exit.REFUSED
