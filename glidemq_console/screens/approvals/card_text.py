"""What the card of a job that waits shows of it, part by part, with the secrets that are masked in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...model.approvals import DRAWN_LIMIT
from ...text import format as fmt
from ...text.safe import clean, json_line, mask, mask_arguments, short
from ...text.shown_keys import key_of
from ...widgets.styled import Styled, dim
from ...widgets.wrapped_text import QUOTED, Paragraph

if TYPE_CHECKING:
    from glidemq_core.records import Approval, ToolCall

#: Characters of the reason that stand in the head of the card; a longer one has a part of its own.
HEAD_REASON: Final = 160
#: Kinds of chunks that the draft and the tool calls are made of.
_SHOWN_KINDS: Final = ("content", "done", "tool_call")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the card: lines to read, and how many secrets it holds."""

    title: str
    lines: tuple[Paragraph, ...]
    masked: int = 0


@dataclass(frozen=True, slots=True)
class CardParts:
    """Everything but the payload's tree. A part that has nothing to say is None; the draft always has."""

    draft: Part
    #: A reason that is too long for the head.
    reason: Part | None = None
    calls: Part | None = None
    progress: Part | None = None
    #: The text of a payload that cannot be read.
    raw: Part | None = None

    @property
    def masked(self) -> int:
        parts = (self.draft, self.reason, self.calls, self.progress, self.raw)
        return sum(part.masked for part in parts if part is not None)


def parts_of(one: Approval, *, reveal: bool) -> CardParts:
    """Put together what a job laid before the approver; secrets are masked unless they are revealed."""
    return CardParts(
        draft=_draft(one, reveal),
        reason=_quoted("reason", one.reason, reveal)
        if len(one.reason or "") > HEAD_REASON and one.reason
        else None,
        calls=_calls(one.tool_calls, reveal) if one.tool_calls else None,
        progress=_progress(one, reveal),
        raw=_raw(one, reveal) if one.data_error is not None else None,
    )


def _quoted(title: str, text: str, reveal: bool) -> Part:
    masked, count = mask(text)
    shown = clean(
        text if reveal else masked, limit=DRAWN_LIMIT, line_limit=DRAWN_LIMIT, max_lines=DRAWN_LIMIT
    )
    return Part(title, (Paragraph(Styled(shown), QUOTED),), count)


def _draft(one: Approval, reveal: bool) -> Part:
    if one.draft:
        return _quoted("draft", one.draft, reveal)
    words = "it wrote nothing since it started" if one.chunks else "it streamed nothing since it started"
    return Part("draft", (Paragraph(dim(words)),))


def _raw(one: Approval, reveal: bool) -> Part:
    why = Paragraph(Styled(f"cannot be read: {short(one.data_error, 400)}", "error"))
    text = _quoted("payload", one.raw or "", reveal)
    return Part("payload", (why, *text.lines), text.masked)


def _calls(calls: tuple[ToolCall, ...], reveal: bool) -> Part:
    lines: list[Paragraph] = []
    total = 0
    for call in calls:
        masked, count = mask_arguments(call.args)
        total += count
        cut = ", cut" if call.cut else ""
        name = f"{short(call.name, 256) or 'a tool'}   {fmt.byte_size(call.bytes)}{cut}"
        lines.append(Paragraph(Styled(name, "", "bold"), Styled("» ", "focus")))
        shown = call.args if reveal else masked
        if shown:
            text = clean(shown, limit=DRAWN_LIMIT, line_limit=DRAWN_LIMIT, max_lines=DRAWN_LIMIT)
            lines.append(Paragraph(Styled(text), QUOTED))
    return Part(f"asks for {fmt.plural(len(calls), 'tool call')}", tuple(lines), total)


def _progress(one: Approval, reveal: bool) -> Part | None:
    value = one.progress
    if value in (0, None, "", {}, []) or isinstance(value, (bool, int, float)):
        return None
    masked, count = mask(value)
    shown = value if reveal else masked
    text = shown if isinstance(shown, str) else json_line(shown, indent=2)
    part = _quoted("progress", text, True)
    return Part("progress", part.lines, count)


def streamed_words(one: Approval) -> str | None:
    """Say what else it streamed, and its progress if that is a number; None if there is nothing to say."""
    words = []
    if isinstance(one.progress, (int, float)) and not isinstance(one.progress, bool) and one.progress:
        words.append(f"progress {one.progress:g}{' %' if 0 <= one.progress <= 100 else ''}")
    others = [(kind, count) for kind, count in one.chunks.items() if kind not in _SHOWN_KINDS and count]
    kinds = [
        f"{count:,} {short(kind, 40) or 'nameless'}" for kind, count in sorted(others, key=lambda o: -o[1])
    ]
    if kinds:
        more = f" and {len(kinds) - 4} more kinds" if len(kinds) > 4 else ""
        words.append(
            f"also streamed {' · '.join(kinds[:4])}{more} ({key_of('approvals.tokens', 't')} shows them)"
        )
    return " · ".join(words) or None
