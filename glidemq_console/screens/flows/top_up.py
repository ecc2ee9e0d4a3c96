"""The dialog that adds to a budget; it shows what would happen before anything does."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Button, Checkbox, Input, Static

from glidemq_core.errors import GlideMQError

from ...actions.flows import Preview
from ...model.flows import Cap, TopUpRequest, caps_of
from ...text import format as fmt
from ...text.parse import parse_amount
from ...text.safe import cell_fit, cell_pad, short
from ...widgets.dialogs.dialog import FilledDialog, key_label
from ...widgets.safe_input import Entry
from ...widgets.status_line import PartsView
from ...widgets.styled import Parts, Styled, dim, label
from ..frame import ConsoleScreen
from .text import amount_text, node_at

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import FlowBudget, TopUp

    from ...model.snapshot import FlowView

#: A preview is read once typing has rested this long.
REST_S = 0.2
#: Cells of the names of the caps, and of what is used of them.
_NAMES, _FIGURES = 14, 24


class TopUpDialog(FilledDialog[TopUpRequest]):
    """One field a cap; below them what is parked, what would be released, what remains."""

    DEFAULT_CSS: ClassVar[str] = """
    TopUpDialog > #dialog { width: 76; }
    TopUpDialog #caps { height: auto; max-height: 8; scrollbar-size-vertical: 1; }
    TopUpDialog.-short #caps { max-height: 3; }
    TopUpDialog.-short #preview { height: 4; min-height: 3; margin-top: 0; }
    TopUpDialog.-short Checkbox { margin-top: 0; }
    TopUpDialog .cap-row { height: 1; width: 1fr; }
    TopUpDialog .cap-name { width: 42; height: 1; }
    TopUpDialog #caps Input { width: 1fr; }
    TopUpDialog #preview { height: auto; min-height: 4; margin-top: 1; }
    TopUpDialog Checkbox { height: 1; border: none; padding: 0; background: $panel; margin-top: 1; }
    TopUpDialog Checkbox:focus { border: none; background-tint: $panel 0%; }
    """

    def __init__(self, name: str, budget: FlowBudget, view: FlowView | None, preview: Preview) -> None:
        """Make the dialog. `preview` returns what a request would do and changes nothing."""
        super().__init__(f"Top up {name}", "", "Top up", "Keep", danger=False)
        self._budget = budget
        self._view = view
        self._caps: list[Cap] = caps_of(budget)
        self._preview = preview
        self._rest: Timer | None = None
        #: The request whose preview is on screen; only that one may be sent.
        self._previewed: TopUpRequest | None = None
        #: Enter was pressed before its preview came.
        self._goes_on = False

    def compose_fields(self) -> ComposeResult:
        unit = short(self._budget.cost_unit, 12) or None
        with VerticalScroll(id="caps", can_focus=False):
            for index, cap in enumerate(self._caps):
                used = f"{amount_text(cap, cap.used, unit)} / {amount_text(cap, cap.most, unit)}"
                name = cell_pad(cell_fit(short(cap.name, 40), _NAMES - 1), _NAMES)
                token = "error" if cap.share > 1 else "warning" if cap.share >= 0.9 else ""
                with Horizontal(classes="cap-row"):
                    yield PartsView(
                        [[label(name), Styled(used.rjust(_FIGURES), token), dim("  + ")]], classes="cap-name"
                    )
                    yield Entry(id=f"cap-{index}", placeholder="0", max_length=20, compact=True)
        if self._budget.on_exceeded == "fail":
            yield Checkbox(Content("also retry the jobs that failed for it"), id="retry-failed", compact=True)
        yield PartsView([[dim("asking what would happen …")]], id="preview")
        yield Static("", id="dialog-problem", markup=False)

    def begin(self) -> None:
        self.query_one("#dialog-yes", Button).disabled = True
        if self._caps:
            self.query_one("#cap-0", Input).focus()
        else:
            super().begin()
        self._ask_preview()

    # --- what was typed ---

    def request(self) -> TopUpRequest | str:
        """What the fields say, or what is wrong with them."""
        single: dict[str, float] = {"add_tokens": 0, "add_cost": 0}
        by: dict[str, dict[str, float]] = {"add_tokens_by": {}, "add_costs_by": {}}
        for index, cap in enumerate(self._caps):
            amount = parse_amount(self.query_one(f"#cap-{index}", Input).value)
            if isinstance(amount, str):
                return f"{short(cap.name, 40)} {amount}"
            if cap.category is None:
                single[cap.kind] = amount
            elif amount:
                by[cap.kind][cap.category] = amount
        boxes = self.query(Checkbox)
        return TopUpRequest(
            add_tokens=single["add_tokens"],
            add_cost=single["add_cost"],
            add_tokens_by=by["add_tokens_by"],
            add_costs_by=by["add_costs_by"],
            retry_failed=any(box.value for box in boxes),
        )

    def on_input_changed(self) -> None:
        self._changed()

    def on_checkbox_changed(self) -> None:
        self._changed()

    def _changed(self) -> None:
        self._previewed, self._goes_on = None, False
        self.query_one("#dialog-yes", Button).disabled = True
        self.query_one("#dialog-problem", Static).update("")
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._ask_preview)

    def _ask_preview(self) -> None:
        asked = self.request()
        if isinstance(asked, str):
            self.query_one("#dialog-problem", Static).update(asked)
            return
        self.run_worker(self._show_preview(asked), group="preview", exclusive=True, exit_on_error=False)

    async def _show_preview(self, asked: TopUpRequest) -> None:
        try:
            answer = await self._preview(asked)
        except GlideMQError as error:
            words = short(error.message, 300)
            self.query_one("#dialog-problem", Static).update(words)
            return
        if self.request() != asked:
            return
        self._previewed = asked
        self.query_one("#preview", PartsView).show(self.preview_lines(answer))
        button = self.query_one("#dialog-yes", Button)
        released = len(answer.released)
        button.label = key_label(self.YES_KEY, f"Top up, release {released:,}" if released else "Top up")
        button.disabled = not (asked.adds or released)
        # A label alone does not make a button wider.
        button.refresh(layout=True)
        if self._goes_on:
            self.on_input_submitted()

    # --- what would happen ---

    def preview_lines(self, answer: TopUp) -> list[Parts]:
        """What is parked, what would be released, what remains."""
        parked = answer.before.parked
        lines: list[Parts] = [[label("parked    "), *self._jobs(parked)]]
        if answer.still_exceeded:
            names = ", ".join(self._cap_name(name) for name in answer.over) or "a cap"
            lines.append([label("releases  "), Styled(f"nothing: {names} is still exceeded", "warning")])
        else:
            lines.append([label("releases  "), *self._jobs(answer.released)])
        left = []
        unit = short(answer.after.cost_unit, 12) or None
        for cap in caps_of(answer.after):
            rest = max(0.0, cap.most - cap.used)
            left.append(f"{short(cap.name, 20)} {amount_text(cap, rest, unit)}")
        lines.append([label("remains   "), Styled("  ".join(left[:2]) or fmt.UNKNOWN)])
        lines += [
            [Styled(" " * 10), Styled("  ".join(left[at : at + 2]))] for at in range(2, min(len(left), 6), 2)
        ]
        return lines

    def _jobs(self, refs: tuple[JobRef, ...]) -> list[Styled]:
        if not refs:
            return [dim("nothing")]
        names = []
        for ref in refs[:2]:
            node = node_at(self._view, ref) if self._view is not None else None
            names.append(f"{short(str(ref), 40)}{f' {short(node.name, 20)}' if node is not None else ''}")
        more = f" and {len(refs) - 2:,} more" if len(refs) > 2 else ""
        return [Styled(fmt.plural(len(refs), "job"), "", "bold"), dim(f"  {', '.join(names)}{more}")]

    def _cap_name(self, wire: str) -> str:
        totals = {"maxTotalTokens": "tokens", "maxTotalCost": "cost"}
        kind, _, category = wire.partition(":")
        if kind in totals:
            return totals[kind]
        return short(category, 40) + (" cost" if kind == "maxCosts" else "")

    # --- the end ---

    def on_input_submitted(self) -> None:
        # Enter leads to the button once its preview is on screen; only a second one sends.
        button = self.query_one("#dialog-yes", Button)
        self._goes_on = self._previewed is None
        if not button.disabled:
            button.focus()

    def action_go_on(self) -> None:
        if self._previewed is not None and not self.query_one("#dialog-yes", Button).disabled:
            self.dismiss(self._previewed)
        else:
            # What would happen is shown before anything does.
            self._goes_on = self._previewed is None


class TopUpScreen(ConsoleScreen):
    """A screen on which budgets can be topped up."""

    async def ask_top_up(
        self, name: str, budget: FlowBudget, view: FlowView | None, preview: Preview
    ) -> TopUpRequest | None:
        return await self.app.push_screen_wait(TopUpDialog(name, budget, view, preview))
