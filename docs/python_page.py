"""The page of what `import glidemq_core` offers: every public name, from its signature and docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args

from python_calls import call_lines, example_lines, parsed
from tables import table

import glidemq_core as core
from glidemq_core.worker.events import EventName

Row = tuple[str, str]

INTRODUCTION = """\
Everything is imported from `glidemq_core`. Durations are milliseconds, a `timedelta` or text such as
`"30s"`, `"5m"` or `"1h 30m"`, times epoch milliseconds or a
`datetime` with a time zone; answers are frozen records whose times are `datetime` in UTC, and None means: not known, or
none. `connection` is a URL, a `Connection` that others share, or None for `GLIDEMQ_URL`; an object closes only the
connection that it opened. `actor=Actor("name")` makes an entry in the audit. A word in front of a call says how it is
used: `await`, `async for`, or nothing for what is done at once."""

RECORDS = """\
Their fields are the keys in [what `--json` writes](json.md), but for times: `x_ms` there is `x_at`, a `datetime`,
here."""

#: What is nobody's business outside, and what is refused until it is there.
_INTERNAL = {"adopt", "as_result", "context", "fields", "of", "use_types"}
_REFUSED = {"Batch", "BatchError", "JobTemplate", "batch"}
#: Whose options the keywords of a class are.
_OPTIONS = {
    "Queue": core.QueueOptions,
    "Worker": core.WorkerOptions,
    "Broadcast": core.QueueOptions,
    "BroadcastWorker": core.WorkerOptions,
}
#: Types that are words, as they are shown.
_WORDS = {"FinalState": "'completed' | 'failed'", "JobState": "str"}
_CONNECTION = ("url", "prefix", "is_cluster", "read_only", "server", "closed", "ping", "client", "close")
#: Attributes that are set, and have no docstring.
_ATTRIBUTES = {
    "Queue": {"name": "Its name."},
    "Job": {
        "id": "Its id in the queue.",
        "data_error": "Why the payload cannot be decoded; None: it can.",
        "discarded": "Whether the next failure is final.",
    },
    "Worker": {"name": "The queue it serves.", "id": "Its name in the list of workers."},
    "Connection": {
        "url": "The server, without the password.",
        "prefix": "What keys begin with.",
        "is_cluster": "Whether the server is a cluster.",
        "read_only": "Whether it refuses what writes.",
        "server": "Version and mode of the server, as a `ServerInfo`.",
        "closed": "Whether it is closed.",
    },
}
_CLASSES = (
    "Queue",
    "Producer",
    "Job",
    "Worker",
    "Broadcast",
    "BroadcastWorker",
    "Handlers",
    "Middleware",
    "FlowProducer",
    "QueueEvents",
    "Watch",
    "Connection",
    "EmbeddedServer",
)
_SMALL = """
    JobOptions Backoff Fallback Ordering TokenBucket RateLimit TokenLimit Retention Deduplication Budget NewJob FlowJob
    DagNode JobRef Actor AddRequest FlowRequest LoggingMiddleware TelemetryMiddleware
    MetricsMiddleware QueueOptions WorkerOptions VectorField TagField NumericField TextField
"""
_PLAIN = """
    connect get_usage_summary match_subject compile_subject_matcher
    chain group chord dag validate_dag topo_sort escape_tag load_app load_workers serve
    graceful_shutdown to_json set_tracer is_tracing_enabled
"""


def class_lines() -> Iterator[str]:
    """Lines of the classes: what they are made with, their attributes, their calls one by one."""
    for name in _CLASSES:
        kind = getattr(core, name)
        text, arguments, raised = parsed(inspect.getdoc(kind) or "")
        yield from (f"## {name}", "", text + _more(name), "")
        if name not in ("Job", "Connection"):
            yield from (f"`{_called(name, kind)}`", "")
        yield from (f"- `{argument}`: {words}" for argument, words in arguments.items())
        yield from ("", f"Raises {raised}", "") if raised else ("",)
        yield from example_lines(name)
        attributes = [row for row in _members(name, kind) if row[2] is None]
        if attributes:
            yield from table(("Attribute", "Is"), [row[:2] for row in attributes])
        if kind is core.BroadcastWorker:
            yield from ("Its calls are those of [Worker](#worker).", "")
        for owner, called, call in calls_of(name):
            yield from call_lines(owner, called, call, named_parameters(call))


def calls() -> dict[str, Callable[..., Any]]:
    """All calls of the page's classes, by their names with the class."""
    return {owner: call for name in _CLASSES for owner, _, call in calls_of(name)}


def calls_of(name: str) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Calls of a class, but for those that it only has from Worker: name with the class, how it is written, itself."""
    kind = getattr(core, name)
    for member, called, call in _members(name, kind):
        if call is not None and (kind is core.Worker or call is not getattr(core.Worker, member, None)):
            yield f"{name}.{member}", called, call


def named_parameters(call: Callable[..., Any]) -> list[str]:
    """Names of the parameters of a call, options of jobs left out."""
    kinds = (inspect.Parameter.VAR_KEYWORD,)
    return [one.name for one in _unpacked(call) if one.name not in ("self", "cls") and one.kind not in kinds]


def sections() -> Iterator[tuple[str, str, tuple[str, str], list[Row]]]:
    """Heading, words, heads of columns and rows of each part of the page after the classes."""
    functions = [(f"`{_manner(call)}{_called(name, call)}`", _first(call)) for name, call in _named(_PLAIN)]
    yield "Functions", "", ("Call", "Does"), functions
    small = [(f"`{_called(name, kind)}`", _first(kind)) for name, kind in _named(_SMALL)]
    yield "What goes in", "", ("Type", "Means"), small
    records = [(f"`{name}`", _first(getattr(core, name))) for name in sorted(_rest())]
    yield "What comes out", RECORDS, ("Record", "Means"), records
    yield "Errors", _ERRORS, ("Error", "Means", "Carries"), list(_errors())  # type: ignore[misc]


def _named(names: str) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(core, name)) for name in names.split())


_ERRORS = """\
All are a `GlideMQError` with a `message` and, when there is something to try, a `hint`. None holds a secret."""


def _more(name: str) -> str:
    if name == "Worker":
        events = ", ".join(f"`{event}`" for event in get_args(EventName))
        return (
            "\n\nThe processor is a coroutine function of a `Job`, or a plain function of a `SyncJob` (same names, "
            f"blocking), which runs in a thread. Events: {events}."
        )
    return ""


def _members(name: str, kind: type[Any]) -> Iterator[tuple[str, str, Callable[..., Any] | None]]:
    """Members of a class: attributes with what they are, calls with how they are written."""
    written = _ATTRIBUTES.get(name, {})
    names = [member for member in dir(kind) if not member.startswith("_") and member not in _INTERNAL]
    if name == "Connection":
        names = list(_CONNECTION)
    elif name == "FlowProducer":
        names = [member for member in names if member != "connection"]
    for member in sorted({*names, *written}):
        if member in written:
            yield f"`{member}`", written[member], None
            continue
        found = inspect.getattr_static(kind, member)
        if isinstance(found, property):
            yield f"`{member}`", _first(found.fget), None
        elif callable(getattr(kind, member)):
            call = getattr(kind, member)
            yield member, f"{_manner(call)}{_called(member, call)}", call


def _manner(call: Callable[..., Any]) -> str:
    returns = str(inspect.signature(call).return_annotation)
    if inspect.iscoroutinefunction(call) or returns in ("Connecting", "ControlCall"):
        return "await "
    return "async for ... in " if returns.startswith("Async") else ""


def _called(name: str, call: Any) -> str:
    parameters, starred = [], False
    options = _OPTIONS.get(name, call if inspect.isclass(call) else type)
    for parameter in _unpacked(call):
        if parameter.name in ("self", "cls", *_REFUSED):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parameters.append("*")
            starred = True
        text = parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            text = "**job_options"
        elif parameter.default is not parameter.empty:
            text += _default(_declared(options, parameter))
        parameters.append(text)
    return f"{name}({', '.join(parameters)}){_returned(call)}"


def _unpacked(call: Any) -> Iterator[inspect.Parameter]:
    """The parameters, with the keywords of a TypedDict one by one; those of a job are too many."""
    maker = call.__init__ if isinstance(call, type) else call
    for parameter in inspect.signature(call).parameters.values():
        unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
        if unpacked is None or unpacked[1] == "JobKeywords":
            yield parameter
            continue
        for keyword in maker.__globals__[unpacked[1]].__annotations__:
            yield inspect.Parameter(keyword, inspect.Parameter.KEYWORD_ONLY, default=None)


def _declared(options: type[Any], parameter: inspect.Parameter) -> Any:
    """The default that an option has in its class; None in a signature only says that it was not given."""
    return getattr(vars(options).get(parameter.name), "_default", parameter.default)


def _returned(call: Any) -> str:
    if inspect.isclass(call):
        return ""
    told = str(inspect.signature(call).return_annotation).replace("[Any, Any]", "").replace('"', "'")
    told = told.replace("Connecting", "Connection")
    told = re.sub(r"Async(?:Generator|Iterator)\[(\w+).*", r"\1", told)
    told = _WORDS.get(told, told)
    told = re.sub(r"^Literal\[(.*)\]$", lambda found: found[1].replace(", ", " | "), told)
    return "" if told in ("None", "ControlCall", "Any") else f" -> {told}"


def _default(value: Any) -> str:
    simple = value is None or isinstance(value, (bool, int, float, str, tuple))
    return f"={value!r}" if simple else "=..."


def _first(documented: Any) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def _errors() -> Iterable[tuple[str, str, str]]:
    for name in core.__all__:
        kind = getattr(core, name)
        if not inspect.isclass(kind) or not issubclass(kind, core.GlideMQError) or name in _REFUSED:
            continue
        bases = [base.__name__ for base in kind.__bases__ if base not in (core.GlideMQError, Exception)]
        also = f" (`{bases[0]}`)" if bases else ""
        facts = ["message", "hint"] if kind is core.GlideMQError else _facts(kind)
        yield f"`{name}`{also}", _first(kind), ", ".join(f"`{fact}`" for fact in facts)


def _facts(kind: type[Any]) -> list[str]:
    found = [fact for base in reversed(kind.__mro__) for fact in inspect.get_annotations(base)]
    if not found:  # those that processors raise take them as arguments
        given = inspect.signature(kind.__init__).parameters
        found = [name for name in given if name not in ("self", "message", "hint", "facts")]
    return list(dict.fromkeys(found))


def _rest() -> set[str]:
    """Records: classes that are nothing else of this page."""
    rest = set()
    for name in core.__all__:
        kind = getattr(core, name)
        if inspect.isclass(kind) and not issubclass(kind, BaseException) and re.match(r"[A-Z][a-z]", name):
            rest.add(name)
    return rest - {*_CLASSES, *_SMALL.split(), *_REFUSED, "SyncJob", "Serializer"}
