"""Filters of the jobs of a queue, which act on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.lists.looked import Looked
from ..lists.filtering import FilteringScreen
from .saving import SavedJobs

if TYPE_CHECKING:
    from glidemq_core.records import JobRow  # noqa: F401  # named in the bases


class SearchingJobsScreen(FilteringScreen["JobRow"], SavedJobs):
    """A list of jobs that may have a filter."""

    @property
    def progress(self) -> Looked | None:
        shown = self._shown
        if shown is None or shown.looked is None:
            return None
        return Looked(
            matches=len(shown.rows),
            looked=shown.looked,
            total=shown.total,
            has_more=shown.has_more,
            is_searching=shown.is_searching,
        )
