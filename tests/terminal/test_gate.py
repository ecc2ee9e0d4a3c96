"""When a frame may be written, by the answers of the terminal."""

from __future__ import annotations

from glidemq_console.terminal.gate import PATIENCE_S, SILENCE_S, FrameGate


def answering() -> FrameGate:
    """A gate whose terminal has answered the first query, at 0."""
    gate = FrameGate()
    assert gate.drawn(0.0)
    gate.answered(0.0)
    return gate


def test_a_terminal_that_never_answers_is_asked_once_and_never_waited_for() -> None:
    gate = FrameGate()

    assert gate.wait_s(0.0) == 0
    assert gate.drawn(0.0) is True
    for at in (0.0, 0.01, 1.0, 100.0):
        assert gate.wait_s(at) == 0
        assert gate.drawn(at) is False


def test_the_next_frame_waits_for_the_answer_to_the_one_before() -> None:
    gate = answering()

    assert gate.wait_s(1.0) == 0
    assert gate.drawn(1.0) is True
    assert gate.wait_s(1.1) > 0
    gate.answered(1.2)
    assert gate.wait_s(1.2) == 0


def test_a_frame_waits_two_seconds_at_most() -> None:
    gate = answering()
    gate.drawn(1.0)

    assert gate.wait_s(1.0) == PATIENCE_S == 2.0
    assert gate.wait_s(3.0) == 0


def test_a_late_answer_is_not_taken_for_that_of_a_later_frame() -> None:
    gate = answering()
    gate.drawn(1.0)
    gate.drawn(3.0)

    gate.answered(3.1)
    assert gate.wait_s(3.1) > 0
    gate.answered(3.2)
    assert gate.wait_s(3.2) == 0


def test_a_terminal_that_falls_silent_is_waited_for_no_longer_until_it_answers_again() -> None:
    gate = answering()
    at = 1.0
    gate.drawn(at)
    while at < 1.0 + SILENCE_S:
        at += gate.wait_s(at)
        gate.drawn(at)

    assert gate.wait_s(at) == 0
    assert gate.drawn(at) is True
    assert gate.wait_s(at) == 0
    gate.answered(at + 1)
    gate.drawn(at + 1)
    assert gate.wait_s(at + 1) > 0


def test_frames_are_as_far_apart_as_asked_for() -> None:
    gate = FrameGate(interval_s=0.25)
    gate.drawn(1.0)

    assert gate.wait_s(1.0) == 0.25
    assert gate.wait_s(1.25) == 0


def test_no_answer_from_before_is_waited_for_after_another_program_had_the_terminal() -> None:
    gate = answering()
    gate.drawn(1.0)

    gate.begin_again()
    assert gate.wait_s(1.0) == 0
    assert gate.drawn(1.0) is True
