"""What an action is: one description that keys, footer, help, palette and `:` line all read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack

from ..text.safe import short
from .keys import Meaning
from .protocols import Console, Page

if TYPE_CHECKING:
    from glidemq_core import JobRef, JobRow, Queue
    from glidemq_core.options.job import Actor

    from ..model.snapshot import Snapshot

T = TypeVar("T")

EVERYWHERE = "everywhere"


class Danger(IntEnum):
    """How much an action can spoil, and so whether it needs a confirmation."""

    #: Looks or navigates.
    NONE = 0
    #: Changes something that one more key press undoes: no question.
    CHANGE = 1
    #: Changes something that cannot simply be undone: a dialog, focus on the safe button.
    CONFIRM = 2
    #: Destroys: the name of the thing has to be typed.
    TYPED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """The question of a dialog. `type_this` is the text that has to be typed, if any."""

    title: str
    body: str
    yes: str
    no: str = "Keep"
    type_this: str | None = None


class Unchanged(str):
    """The message of an action that changed nothing: shown without the colour of success."""

    __slots__ = ()


class Doubtful(str):
    """The message of an act of which something may not have been done: shown in the colour of a warning."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class Context:
    """What was on screen when the key was pressed; an action works on this and nothing later."""

    console: Console
    page: Page
    snapshot: Snapshot
    queue: str | None = None
    job: JobRef | None = None
    #: State of that job as shown.
    job_state: str | None = None
    row: JobRow | None = None
    #: What is marked, as it was shown; an act works on that if there is any.
    marked: tuple[Any, ...] = ()
    #: Words typed after a `:` command.
    words: tuple[str, ...] = ()

    async def change(
        self, call: Callable[[Queue[Any, Any], Actor], Awaitable[T]], queue: str | None = None
    ) -> T:
        """Make one mutation as this console's user, on the selected queue unless another is given."""
        return await self.console.feed.change(queue or self.needed_queue, call)

    def why_not_write(self, scope: str) -> str | None:
        """Say why an action of a scope can change nothing now, or None."""
        return self.snapshot.why_not_write()

    @property
    def shown_queue(self) -> str:
        """Name of the queue, safe to draw."""
        return short(self.queue, 80)

    @property
    def shown_job(self) -> str:
        """`queue:id`, safe to draw."""
        return short(str(self.job or ""))

    @property
    def needed_queue(self) -> str:
        """The selected queue; actions check before that there is one."""
        assert self.queue is not None
        return self.queue

    @property
    def needed_job(self) -> JobRef:
        """The selected job; actions check before that there is one."""
        assert self.job is not None
        return self.job


P_co = TypeVar("P_co", bound=Page, covariant=True)
#: The context of the screen that an action belongs to.
C = TypeVar("C", bound=Context, contravariant=True)


@dataclass(frozen=True, kw_only=True)
class PageContext(Context, Generic[P_co]):
    """The context of actions that call methods which only some screens have."""

    page: P_co


@dataclass(frozen=True)
class Words:
    """What the words after a command are: a queue or a job retargets the action."""

    kind: Literal["queue", "job", "text"]
    #: What the first word may be.
    complete: Callable[[Context], Sequence[str]] = lambda _: ()


Run: TypeAlias = Callable[[C], Awaitable[str | None] | str | None]


class Options(TypedDict, Generic[C], total=False):
    """What few actions need, see `Action`."""

    danger: Danger
    why_not: Callable[[C], str | None]
    ask: Callable[[C], Question]
    prompts: bool
    footer: int
    command: str
    takes: Words


@dataclass(frozen=True, kw_only=True)
class Action(Generic[C]):
    """One thing a person can do."""

    id: str
    #: One or two words for the footer.
    title: str
    #: One sentence for help and palette.
    help: str
    #: What its keys mean, see `keys`; none leaves it to the `:` line.
    meanings: tuple[Meaning, ...] = ()
    #: Screen it belongs to, or `everywhere`.
    scope: str = EVERYWHERE
    danger: Danger = Danger.NONE
    #: Why it is not possible now, or None.
    why_not: Callable[[C], str | None] = lambda _: None
    #: The question of a dangerous action; answering no ends it.
    ask: Callable[[C], Question] | None = None
    #: Do it; the text returned is shown in the status line.
    run: Run[C]
    #: `run` opens a dialog: what is typed right after the key belongs there.
    prompts: bool = False
    #: Place in the footer, lower first; None leaves it out.
    footer: int | None = None
    #: Name on the `:` line; None leaves it out.
    command: str | None = None
    #: What the words after the command are; None allows none.
    takes: Words | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Textual key names; the first is the one that is shown."""
        return tuple(key for meaning in self.meanings for key in meaning.keys)

    @property
    def opens_dialog(self) -> bool:
        """Whether it opens a dialog before it is done."""
        return self.prompts or self.ask is not None

    def unavailable(self, context: C) -> str | None:
        """Say why this cannot be done now: permission first, then what is not on screen, then its own precondition."""
        if self.danger is not Danger.NONE:
            reason = context.why_not_write(self.scope) or context.page.why_not_drawn()
            if reason is not None:
                return reason
        return self.why_not(context)


class Actions(list[Action[C]]):
    """The actions of one screen, in the order of its help. Calling it makes an action of the function below.

    The last part of the id is the title unless one is given, and the command of an action that takes words;
    the help is the docstring of the function.
    """

    def __init__(self, scope: str = EVERYWHERE) -> None:
        super().__init__()
        self._scope = scope

    def __call__(
        self, id: str, *meanings: Meaning, title: str | None = None, **options: Unpack[Options[C]]
    ) -> Callable[[Run[C]], Action[C]]:
        """Add an action; one that changes something is added by `changes`."""
        name = id.rpartition(".")[2]
        if "takes" in options:
            options.setdefault("command", name)

        def add(run: Run[C]) -> Action[C]:
            action = Action(
                id=id,
                meanings=meanings,
                scope=self._scope,
                title=title or name.replace("-", " "),
                help=run.__doc__ or "",
                run=run,
                **options,
            )
            self.append(action)
            return action

        return add

    def changes(
        self, id: str, *meanings: Meaning, title: str | None = None, **options: Unpack[Options[C]]
    ) -> Callable[[Run[C]], Action[C]]:
        """Add an action that changes something; with `ask` it cannot simply be undone."""
        options.setdefault("danger", Danger.CONFIRM if "ask" in options else Danger.CHANGE)
        return self(id, *meanings, title=title, **options)


def on_screen(scope: str, actions: Iterable[Action[C]]) -> list[Action[C]]:
    """Give actions that several screens share to one of them. The `:` line knows each command once: the list's."""
    return [
        replace(
            action,
            id=f"{scope}.{action.id}",
            scope=scope,
            command=action.command if scope == "jobs" else None,
        )
        for action in actions
    ]
