"""Filters of the jobs of a queue: checked while typed, and looked further for on the last row."""

from __future__ import annotations

from ...widgets.lists.columns import Heading, Row
from ..lists.filtering import further_row, problem_of
from .saving import SavedJobs


class SearchingJobsScreen(SavedJobs):
    """A list of jobs that may have a filter."""

    #: How often it was asked to look further for what the filter takes.
    _further = 0

    def filter_problem(self, text: str) -> str | None:
        from glidemq_core.filters.jobs import JOB_FIELDS

        return problem_of(text, JOB_FIELDS)

    def last_row(self) -> Row | None:
        return further_row(self._shown) if self._shown is not None else None

    def open_row(self) -> None:
        if isinstance(self.lines.cursor_key, Heading):
            self._further += 1
            self.console.set_interests()
        else:
            super().open_row()
