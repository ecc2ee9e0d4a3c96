"""Find jobs in the tree of a flow: `/` takes words and the keys of filters, `n` and `N` go on; nothing is hidden."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from ...model.flows import ancestors, tree_rows
from ...text.safe import clean
from ...text.shown_keys import key_of
from ...widgets.styled import Parts, Styled, dim, hotkey
from ..lists.list_screen import ListScreen
from .columns import TreeLine

if TYPE_CHECKING:
    from glidemq_core.records import Flow, FlowNode

    from ...model.flows import TreeRow


class TreeFindingScreen(ListScreen[TreeLine]):
    """A tree of jobs in which one can find."""

    def __init__(self) -> None:
        super().__init__()
        #: Keys of the rows whose children are folded away.
        self._folded: set[Hashable] = set()
        self._looked_for = ""
        #: What was found, and for which words, among which jobs, at which time.
        self._last_found: tuple[str, Sequence[FlowNode], int, list[TreeRow]] = "", (), 0, []

    @property
    def flow(self) -> Flow | None:
        """The flow whose tree it is, once it is known."""
        raise NotImplementedError

    # --- what the frame asks ---

    @property
    def filtered_as(self) -> str:
        return self.SCOPE

    @property
    def filter_text(self) -> str:
        return self._looked_for

    def set_filter(self, text: str) -> None:
        self._looked_for = text
        if text and (found := self._found()) and self._at(found) is None:
            self._go_to(found[0])
        self.show(self.snapshot)

    def title_of(self, action_id: str) -> str | None:
        return "find" if action_id == "filter" else super().title_of(action_id)

    def leave(self) -> bool:
        if not self._looked_for:
            return super().leave()
        self.set_filter("")
        return True

    def found_parts(self) -> Parts:
        """What is looked for, at which of its places one is, and the keys that go on."""
        if not self._looked_for:
            return []
        asked = Styled(f"/{clean(self._looked_for, single_line=True)}  ", "focus")
        found = self._found()
        if not found:
            return [asked, dim("nothing  ")]
        at = self._at(found)
        place = f"{at + 1} of {len(found)}" if at is not None else f"{len(found)} found"
        following, before = key_of(f"{self.SCOPE}.find-next", "n"), key_of(f"{self.SCOPE}.find-previous", "N")
        return [asked, dim(place), hotkey(f"  {following} {before}"), Styled("  ")]

    def row_highlighted(self) -> None:
        super().row_highlighted()
        if self._looked_for:
            self._show_status(self.snapshot, self.console.now_ms())

    # --- finding ---

    def next_match(self, step: int) -> str | None:
        """Go to the next job that is looked for, or the one before, round the end; return what to show."""
        found = self._found()
        if not self._looked_for:
            return "nothing is looked for: / finds"
        if not found:
            return "nothing is found"
        places: dict[Hashable, int] = {row.key: place for place, row in enumerate(self._rows())}
        here = places.get(self.lines.cursor_key, -1)
        in_turn = found[::step]
        ahead = [row for row in in_turn if (places[row.key] - here) * step > 0]
        self._go_to(ahead[0] if ahead else in_turn[0])
        return None if ahead else ("on from the top" if step > 0 else "on from the bottom")

    def _rows(self) -> list[TreeRow]:
        return tree_rows(self.flow) if self.flow is not None else []

    def _found(self) -> list[TreeRow]:
        """Rows that are looked for, also below folded ones, each job once.

        Among jobs that have not changed the same words find the same; only ages go on, by the second.
        """
        words, second = self._looked_for, self.console.now_ms() // 1_000
        if not words or self.flow is None:
            return []
        nodes = self.flow.nodes
        known_words, known_nodes, known_second, found = self._last_found
        if words != known_words or nodes != known_nodes or ("age" in words and second != known_second):
            rows = {row.node.ref: row for row in self._rows() if not row.again}
            taken = self.taken_by(words, [row.node for row in rows.values()])
            found = [rows[node.ref] for node in taken]
        self._last_found = words, nodes, second, found
        return found

    def _at(self, found: list[TreeRow]) -> int | None:
        return next((at for at, row in enumerate(found) if row.key == self.lines.cursor_key), None)

    def _go_to(self, row: TreeRow) -> None:
        """Stand on a row, and unfold what hides it."""
        rows = self._rows()
        self._folded -= {one.key for one in ancestors(rows, rows.index(row))}
        self.show(self.snapshot)
        keys = [self.key_of(line) for line in self.listed]
        self.lines.move_to(keys.index(row.key))
