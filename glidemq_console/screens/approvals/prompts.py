"""What is asked before a decision: the reason of a rejection, the comment of an approval."""

from __future__ import annotations

from ...actions.protocols import Console
from ...widgets.dialog import PromptDialog


async def ask_reason(console: Console, title: str) -> str | None:
    """Ask why; None when nothing is to be rejected."""

    def problem(text: str) -> str | None:
        return None if text.strip() else "a rejection needs a reason"

    dialog = PromptDialog(
        title,
        "The reason goes to the processor and into the audit.",
        placeholder="why",
        yes="Reject",
        no="Keep waiting",
        validate=problem,
        danger=True,
    )
    answer = await console.push_screen_wait(dialog)
    return answer.strip() if answer is not None else None


async def ask_comment(console: Console, name: str, comment: str) -> str | None:
    """Ask for a comment, beginning with the one there is; None leaves it as it is."""
    dialog = PromptDialog(
        f"Comment on {name}",
        "It goes to the processor with your approval, and into the audit.",
        value=comment,
        yes="Keep it",
    )
    return await console.push_screen_wait(dialog)
