"""What the flow screens say, as parts: pure functions of records and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from ...model.flows import Cap, caps_of, done_of, flow_state, flow_took_ms, forecast, root_of, waits_for
from ...model.snapshot import FlowView, epoch_ms
from ...text import format as fmt
from ...text.safe import cell_fit, cell_pad, short
from ...text.shown_keys import key_of
from ...widgets.meters import bar_parts, gauge_parts
from ...widgets.styled import Parts, Styled, dim, hotkey, label

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow, FlowBudget, FlowNode

#: Parents told of in the banner.
BANNERS = 2
#: Parked jobs named in the pane.
PARKED_SHOWN = 6
#: Cells inside the bars of what is done of a flow, and of what a job spent of it.
DONE_CELLS, SPEND_CELLS = 8, 6
_ENDED = ("completed", "failed")


def age_words(flow: Flow, now: int) -> str:
    """How long ago a flow was added."""
    root = root_of(flow)
    return fmt.UNKNOWN if root is None else fmt.age(epoch_ms(root.created_at), now)


def state_parts(flow: Flow, blocked: bool | None = None) -> list[Styled]:
    glyph, word, token = flow_state(flow, blocked)
    return [Styled(f"{glyph} ", token), Styled(word, token)]


def done_parts(flow: Flow) -> Parts:
    """How far a flow is: a bar, and the jobs that are done of how many."""
    ended, total = done_of(flow)
    share = ended / total if total else 0.0
    token = "state-completed" if ended == total else "spark"
    return [
        *bar_parts(share, DONE_CELLS, token),
        Styled(f" {ended:,}"),
        dim(f" / {total:,}{'+' if flow.truncated else ''}"),
    ]


def spend_parts(node: FlowNode, flow: Flow | None) -> Parts:
    """What a job spent of all that its flow has spent: money where there is any, else tokens."""
    usage = flow.usage if flow is not None else None
    if usage is None:
        return []
    spent, total = (
        (node.total_cost, usage.total_cost) if usage.total_cost else (node.total_tokens, usage.total_tokens)
    )
    return bar_parts(spent / total, SPEND_CELLS, "spark") if spent and total else []


def amount_text(cap: Cap, value: float, unit: str | None = None) -> str:
    """An amount of a cap: tokens with all digits, money with its unit."""
    if cap.is_money:
        return "0" if value == 0 else fmt.money(value, unit)
    return "0" if value == 0 else f"{value:,.0f}" if value < 100_000 else fmt.count(value)


def budget_cell(budget: FlowBudget | None) -> list[Styled]:
    """The cap that is nearest to its end."""
    caps = caps_of(budget) if budget is not None else []
    if budget is None or not caps:
        return [dim(fmt.UNKNOWN)]
    worst = max(caps, key=lambda cap: cap.share)
    gauge = gauge_parts(worst.share, 8)
    token = "error" if budget.exceeded else gauge[1].style
    figure = Styled(f" {fmt.percent(worst.share)}", token)
    return [*(part._replace(style=token) if part.style == gauge[1].style else part for part in gauge[:3]), figure,
            dim(f" {short(worst.name, 30)}")]  # fmt: skip


# --- one flow ----------------------------------------------------------------------------------------------


def headline(view: FlowView, now: int) -> tuple[Parts, Parts]:
    """Which flow, in which state, how far it is; what it has used."""
    flow = view.flow
    assert flow is not None
    root, (done, total) = root_of(flow), done_of(flow)
    took = flow_took_ms(flow)
    unit = short(flow.usage.cost_unit, 12) or None
    left = [
        Styled(short(root.name if root is not None else ""), "", "bold"),
        dim(f"   {short(str(flow.root))}   "),
        *(part._replace(attributes="bold") for part in state_parts(flow, bool(view.blocked))),
        dim(f" took {fmt.took(took)}" if took is not None else f" {age_words(flow, now)}"),
        Styled(f"   {done:,} of {total:,} done"),
        *([dim(f" ({flow.removed:,} removed)")] if flow.removed else []),
        *([Styled(f"   only {total:,} jobs are shown", "warning")] if flow.truncated else []),
    ]
    right: list[Styled] = []
    if flow.usage.total_tokens:
        right.append(dim(f"{fmt.full(flow.usage.total_tokens)} tok  "))
    if flow.usage.total_cost:
        right.append(Styled(f"{fmt.money(flow.usage.total_cost, unit)} "))
    return left, right


def note_parts(node: FlowNode, view: FlowView, below: Mapping[JobRef, Sequence[FlowNode]]) -> Parts:
    """What there is to know about a job beyond its figures."""
    if node.parked:
        return [Styled("parked by budget", "state-paused")]
    if node.removed:
        return [dim("done and removed" if node.state == "completed" else "removed")]
    if node.ref in view.blocked:
        names = ", ".join(_name_of(view, child) for child in view.blocked[node.ref][:3])
        return [Styled(f"cannot go on: {names}", "error")]
    if node.state == "waiting-children":
        is_part = view.flow is not None and view.flow.truncated
        return [dim(f"waits for {waits_for(node, below):,}{' or more' if is_part else ''}")]
    if node.state == "suspended":
        return [Styled("waits for a person", "person")]
    parts: list[Styled] = []
    if node.fallback_index:
        why = view.fallbacks.get(node.ref)
        parts.append(Styled(f"fallback {node.fallback_index}", "warning"))
        parts.append(dim(f": {short(why, 200)}" if why else ""))
    if node.state == "failed" and node.failed_reason:
        parts.append(Styled(("  " if parts else "") + short(node.failed_reason, 200), "error"))
    if not parts and node.attempts_made:
        parts.append(dim(f"{fmt.plural(node.attempts_made, 'try', 'tries')} failed"))
    return parts


def _name_of(view: FlowView, ref: JobRef) -> str:
    node = node_at(view, ref)
    if node is None or node.removed:
        return f"{short(str(ref), 60)} is gone"
    return f"{short(node.name, 40)} failed"


def node_at(view: FlowView, ref: JobRef | None) -> FlowNode | None:
    return next((n for n in view.flow.nodes if n.ref == ref), None) if view.flow is not None else None


def budget_lines(view: FlowView, now: int, *, narrow: bool) -> list[Parts]:
    """The gauges, how fast it burns and until when, and what is parked; `narrow` beside the tree."""
    flow = view.flow
    budget = flow.budget if flow is not None else None
    if budget is None:
        return [[dim("no budget: nothing caps what this flow spends")]]
    lines: list[Parts] = []
    unit = short(budget.cost_unit, 12) or None
    names = _label_width(budget)
    for cap in caps_of(budget):
        figures = f"{amount_text(cap, cap.used, unit)} / {amount_text(cap, cap.most, unit)}"
        name = cell_pad(cell_fit(short(cap.name, 30), names - 1), names)
        gauge = gauge_parts(cap.share, 10 if narrow else 16, figures)
        if narrow:
            # The forecast says that it is exceeded; the room is for the figures.
            gauge[3] = gauge[3]._replace(text=f" {fmt.percent(cap.share)}".ljust(6))
        lines.append([label(name), *gauge])
    if not lines:
        lines.append([dim("its budget has no caps")])
    root = root_of(flow) if flow is not None else None
    over = root is not None and root.state in _ENDED and not budget.parked
    words, token = forecast(budget, now)
    if over and not budget.exceeded:
        words = "ended, it spends nothing more"
    burn = [label(cell_pad("burning", names))]
    if budget.parked and flow is not None and not any(_may_run(node) for node in flow.nodes):
        burn.append(dim("nothing while its jobs are parked"))
    elif budget.tokens_per_min is None:
        burn.append(dim("no reports yet"))
    elif not budget.tokens_per_min and not budget.cost_per_hour:
        burn.append(dim("nothing lately"))
    else:
        burn.append(Styled(fmt.rate(budget.tokens_per_min, "tok/min")))
        if budget.cost_per_hour:
            burn.append(Styled(f"  {fmt.money(budget.cost_per_hour, unit, per='/h')}"))
    if not over:
        lines.append(burn)
    expected = Styled(words, token, "bold" if token == "error" else "")
    lines.append([label(cell_pad("forecast", names)), expected])
    if budget.on_exceeded == "fail" and not over:
        lines.append([label(cell_pad("then", names)), dim("jobs fail instead of starting")])
    lines += _parked_lines(view, budget, names, now)
    return lines


def _may_run(node: FlowNode) -> bool:
    """Whether a job runs or will without anybody's help."""
    return node.state not in (*_ENDED, "waiting-children", "suspended", "unknown") and not node.parked


def _label_width(budget: FlowBudget | None) -> int:
    """Cells of the labels, so that the names of the caps stand over each other."""
    caps = caps_of(budget) if budget is not None else []
    return min(16, max(9, *(cell_len(short(cap.name, 30)) for cap in caps), 0) + 1)


def _parked_lines(view: FlowView, budget: FlowBudget, names: int, now: int) -> list[Parts]:
    if not budget.parked:
        return []
    lines: list[Parts] = []
    for index, ref in enumerate(budget.parked[:PARKED_SHOWN]):
        node = node_at(view, ref)
        name = f"  {short(node.name, 40)}" if node is not None else ""
        since = epoch_ms(node.parked_at) if node is not None else None
        lead = cell_pad("parked", names) if index == 0 else " " * names
        ago = dim("" if since is None else f"  for {fmt.age(since, now)}")
        lines.append([label(lead), Styled(short(str(ref), 60), "state-paused"), Styled(name), ago])
    if len(budget.parked) > PARKED_SHOWN:
        lines.append([Styled(" " * names), dim(f"and {len(budget.parked) - PARKED_SHOWN:,} more")])
    lines.append(
        [Styled(" " * names), hotkey(key_of("flow.top-up", "T")), dim(" tops up and lets them go on")]
    )
    return lines


def banner(view: FlowView) -> list[Parts]:
    """Which parents can never go on and why, most important first, and what one can do."""
    lines: list[Parts] = []
    for parent, children in list(view.blocked.items())[:BANNERS]:
        node = node_at(view, parent)
        name = short(node.name, 60) if node is not None else short(str(parent), 60)
        whys = [_why_blocked(view, child) for child in children[:3]]
        more = f" and {len(children) - 3} more" if len(children) > 3 else ""
        lines.append([
            Styled("✗ ", "error"), Styled(name, "", "bold"), Styled(" can never go on by itself: ", "error"),
            Styled("; ".join(whys) + more),
        ])  # fmt: skip
        retry = any((n := node_at(view, child)) is not None and n.state == "failed" for child in children)
        hints = [hotkey(key_of("flow.retry", "R")), dim(" retry the child   ")] if retry else []
        hints += [hotkey(key_of("flow.release", "L")), dim(" go on without it   ")]
        lines.append([Styled("  "), *hints, hotkey(key_of("flow.remove", "X")), dim(" remove it")])
    return lines


def _why_blocked(view: FlowView, child: JobRef) -> str:
    found = node_at(view, child)
    why = short(found.failed_reason, 200) if found is not None else ""
    return f"{short(str(child), 60)} {_name_of(view, child)}{f', {why}' if why else ''}"


def usage_lines(flow: Flow) -> list[Parts]:
    """Tokens by category and jobs by model."""
    lines: list[Parts] = []
    names = _label_width(flow.budget)
    if flow.usage.tokens:
        words = "  ".join(f"{short(name, 20)} {fmt.full(used)}" for name, used in flow.usage.tokens.items())
        lines.append([label(cell_pad("used", names)), dim(words)])
    if flow.usage.models:
        words = "  ".join(f"{short(name, 30)} {count:,.0f}" for name, count in flow.usage.models.items())
        lines.append([label(cell_pad("models", names)), dim(words)])
    return lines
