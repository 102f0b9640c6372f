"""A circuit against its model: whatever happens in whatever order, it keeps its laws."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, CircuitState, Phase
from cluster.errors import CircuitOpenError

from fakes import FakeClock

FAIL_MAX = 3
RESET_S = 30.0


class Excluded(Exception):  # noqa: N818  # a word of the model
    pass


class Flight:
    """A call that was admitted and has not ended."""

    def __init__(self, phase: Phase, epoch: int) -> None:
        self.phase = phase
        self.epoch = epoch
        self.ended = False


class CircuitMachine(RuleBasedStateMachine):
    flights = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        config = CircuitBreakerConfig(FAIL_MAX, RESET_S, (Excluded,))
        self.circuit = Circuit("model", config, clock=self.clock)
        self.state = CircuitState.CLOSED
        self.epoch = 0
        self.failures = 0
        self.opened_at_s = 0.0
        self.trial: Flight | None = None

    def move(self, state: CircuitState) -> None:
        self.state = state
        self.epoch += 1
        self.trial = None
        if state is CircuitState.OPEN:
            self.opened_at_s = self.clock.monotonic_s()
        if state is CircuitState.CLOSED:
            self.failures = 0

    @rule(target=flights)
    def begin(self) -> Flight | None:
        waited = self.clock.monotonic_s() - self.opened_at_s >= RESET_S
        passes = (
            self.state is CircuitState.CLOSED
            or (self.state is CircuitState.OPEN and waited)
            or (self.state is CircuitState.HALF_OPEN and self.trial is None)
        )
        try:
            phase = self.circuit.admit(lambda: None)
        except CircuitOpenError as error:
            assert not passes
            return self.refused(error)
        assert passes
        if self.state is CircuitState.OPEN:
            self.move(CircuitState.HALF_OPEN)
        flight = Flight(phase, self.epoch)
        if self.state is CircuitState.HALF_OPEN:
            self.trial = flight
        return flight

    @staticmethod
    def refused(error: CircuitOpenError) -> None:
        assert 0 < error.retry_in_s <= RESET_S

    @rule(flight=flights, how=st.sampled_from(["success", "failure", "excluded", "cancelled"]))
    def end(self, flight: Flight | None, how: str) -> None:
        if flight is None or flight.ended:
            return
        flight.ended = True

        def call() -> None:
            match how:
                case "failure":
                    raise ConnectionError
                case "excluded":
                    raise Excluded
                case "cancelled":
                    raise KeyboardInterrupt

        with suppress(ConnectionError, Excluded, KeyboardInterrupt):
            self.circuit.carry(flight.phase, call)
        if flight.epoch == self.epoch:
            self.learn(flight, how)

    def learn(self, flight: Flight, how: str) -> None:
        on_trial = flight is self.trial
        if on_trial:
            self.trial = None
        if how == "success":
            if on_trial:
                self.move(CircuitState.CLOSED)
            self.failures = 0
        if how == "failure":
            self.failures += 1
            if on_trial or self.failures >= FAIL_MAX:
                self.move(CircuitState.OPEN)

    @rule(seconds=st.sampled_from([1.0, 10.0, 29.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.clock.forward(seconds)

    @rule()
    def reset(self) -> None:
        if self.state is CircuitState.CLOSED:
            self.failures = 0
        else:
            self.move(CircuitState.CLOSED)
        self.circuit.reset()

    @rule()
    def open(self) -> None:
        self.move(CircuitState.OPEN)
        self.circuit.open()

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.circuit.state is self.state
        if self.state is CircuitState.CLOSED:
            assert self.circuit.fail_counter == self.failures < FAIL_MAX

    def teardown(self) -> None:
        """However it went, it recovers when nothing is under way and time passes."""
        self.clock.forward(RESET_S)
        if self.trial is not None:
            with suppress(KeyboardInterrupt):
                self.circuit.carry(self.trial.phase, self.interrupt)
        self.circuit.call(lambda: None)
        assert self.circuit.state is CircuitState.CLOSED

    @staticmethod
    def interrupt() -> None:
        raise KeyboardInterrupt


CircuitMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestCircuit = CircuitMachine.TestCase
