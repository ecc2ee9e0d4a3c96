"""Workers of an application: found by name, and given what the command line says."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import InvalidOptionError
from ..options.fields import Duration
from ..options.job import merge_options
from ..options.worker import WorkerOptions
from ..server.connection import Connection
from ..worker.worker import Worker


def load_app(target: str) -> list[Worker]:
    """Import `module:attribute` and return its workers; nothing connects.

    The attribute is a Worker, a list of them, or a plain function that returns either. The current folder is
    searched first.

    Raises:
        InvalidOptionError: the text is no `module:attribute`, it cannot be imported, or it holds no worker.
    """
    found = _made(target, _find(target))
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise _refused(target, f"'{target}' is an async function: await load_workers('{target}')")
    return _workers(target, found)


async def load_workers(*targets: str) -> list[Worker]:
    """Import each `module:attribute` and return the workers of all of them, each once; nothing connects.

    An attribute is a Worker, a list of them, or a function, plain or async, that returns either; async ones run here,
    one after the other. The current folder is searched first.

    Raises:
        InvalidOptionError: a text is no `module:attribute`, it cannot be imported, or it holds no worker.
    """
    workers: list[Worker] = []
    # All of them are found before the first function runs: what is misspelt costs no connections.
    for target, found in [(target, _find(target)) for target in targets]:
        found = _made(target, found)
        if inspect.isawaitable(found):
            try:
                found = await found
            except (Exception, SystemExit) as error:
                raise _raised(target, error) from error
        workers += _workers(target, found)
    return list(dict.fromkeys(workers))


def _find(target: str) -> Any:
    """Import a module and return its attribute."""
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise _refused(target, f"'{target}' is not MODULE:ATTRIBUTE")
    if "" not in sys.path:
        sys.path.insert(0, "")
    return _attribute(target, _import(target, module_name), attribute)


def _made(target: str, found: Any) -> Any:
    """Call what is a function; of an async one this is its coroutine."""
    if not callable(found) or isinstance(found, Worker):
        return found
    try:
        return found()
    except (Exception, SystemExit) as error:
        raise _raised(target, error) from error


def _workers(target: str, found: Any) -> list[Worker]:
    workers = list(found) if isinstance(found, (list, tuple)) else [found]
    if not workers:
        raise _refused(target, f"'{target}' holds no worker: the list is empty")
    for one in workers:
        if not isinstance(one, Worker):
            text = f"'{target}' is neither a Worker, nor a list of them, nor a function returning one"
            raise _refused(target, f"{text}: it holds {type(one).__name__}")
    return workers


def _raised(target: str, error: BaseException) -> InvalidOptionError:
    return _refused(target, f"'{target}' raised {type(error).__name__}: {error}")


def _import(target: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except SystemExit as error:
        raise _refused(target, f"cannot import '{name}': it ends the program (exit {error.code})") from error
    except Exception as error:
        raise _refused(target, f"cannot import '{name}': {type(error).__name__}: {error}") from error


def _attribute(target: str, module: Any, path: str) -> Any:
    found = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise _refused(target, f"module '{module.__name__}' has no '{path}'") from None
    return found


def _refused(target: str, message: str) -> InvalidOptionError:
    return InvalidOptionError(message, option="app", value=target, allowed="MODULE:ATTRIBUTE")


def needs_connection(workers: Sequence[Worker]) -> bool:
    """Whether any of the workers names no server itself."""
    return any(worker._lazy.target is None for worker in workers)


def prepare(
    workers: Sequence[Worker],
    connection: Connection | None = None,
    *,
    concurrency: int | None = None,
    grace: Duration | None = None,
) -> None:
    """Give workers that have not started what the command line says; None leaves each worker's own.

    Raises:
        InvalidOptionError: a value is not allowed.
    """
    given = {
        name: value for name, value in (("concurrency", concurrency), ("grace", grace)) if value is not None
    }
    for worker in workers:
        if worker._lazy.target is None:
            worker._lazy.target = connection
        if given:
            worker.options = merge_options(WorkerOptions, worker.options, given)
