"""Prints how each schedule went, whichever process ran it."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for tests in terminalreporter.stats.values():
        for test in tests:
            for name, told in getattr(test, "user_properties", ()):
                if name == "report" and getattr(test, "when", "") == "call":
                    terminalreporter.write_line(told)
