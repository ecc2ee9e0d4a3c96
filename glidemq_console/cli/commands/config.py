"""`config`: what is in force and where it comes from; changing the file."""

from __future__ import annotations

import os
import shlex
import subprocess
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from ...config import file
from ..errors import Exit, Refusal, UsageProblem
from ..program import command, require
from ..session import Session

if TYPE_CHECKING:
    from ...config.settings import Settings


#: Settings in the order of the table.
_SHOWN = (
    *("url", "prefix", "profile", "user", "password_file", "insecure", "read_only", "prod"),
    *("queues", "theme", "ascii", "refresh", "calm", "notify", "bell", "undo"),
)


#: What to do with the config.
Action = StrEnum("Action", ["show", "path", "edit", "set", "profiles"])


@command("config")
def config(
    session: Session,
    action: Annotated[Action, Argument(help="What to do.")] = Action.show,
    key: Annotated[str | None, Argument(metavar="KEY", help="theme, url, profiles.NAME.url, ...")] = None,
    value: Annotated[str | None, Argument(metavar="VALUE", help="With set.")] = None,
) -> int:
    """Show, edit or change the configuration."""
    require(
        (action is Action.set) == (value is not None),
        "set needs KEY and VALUE" if action is Action.set else f"{action} takes no VALUE",
    )
    require(key is None or action in (Action.set, Action.show), f"{action} takes no KEY")
    if action is Action.edit:
        return _edit(session)
    if action is Action.set:
        path = file.config_path()
        file.set_key(path, key or "", value or "")
        session.out.note(session.out.safe(f"{key} set in {path}", 4_000))
    if session.json:
        session.out.object(_object(session.settings))
    elif action is Action.path:
        session.out.line(session.out.safe(file.config_path(), 4_000))
    elif action is Action.profiles:
        _profiles(session)
    elif action is Action.show:
        _show(session, session.settings, key)
    return Exit.DONE


def _object(settings: Settings) -> dict[str, Any]:
    content = file.load(settings.path)
    profiles = {name: _without_password(profile) for name, profile in content.get("profiles", {}).items()}
    values = {**_effective(settings), "profiles": profiles}
    return {"config": values, "sources": dict(settings.sources), "path": str(settings.path)}


def _effective(settings: Settings) -> dict[str, Any]:
    values = {key: getattr(settings, key) for key in _SHOWN}
    return _without_password({**values, "queues": list(settings.queues)})


def _without_password(values: dict[str, Any]) -> dict[str, Any]:
    from glidemq_console.text.safe import masked_text
    from glidemq_core.server.url import redact

    # What is no URL at all may hold a password in any place.
    return {**values, "url": masked_text(redact(values["url"]))} if values.get("url") else dict(values)


def _show(session: Session, settings: Settings, key: str | None) -> None:
    values = _effective(settings)
    if key is not None and key not in values:
        raise Refusal(f"unknown key '{key}'; known: {', '.join(values)}")
    out = session.out
    rows = [
        [name, out.safe(_words(value), 200), out.safe(settings.sources.get(name, "default"), 60)]
        for name, value in values.items()
        if key in (None, name)
    ]
    out.table(["KEY", "VALUE", "FROM"], rows)
    if key is None:
        out.note(f"file: {out.safe(settings.path, 4_000)}{'' if settings.path.exists() else ' (not there)'}")


def _words(value: Any) -> str:
    if value is None or value == []:
        return "–"
    if isinstance(value, list):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _profiles(session: Session) -> None:
    profiles = file.load(session.settings.path).get("profiles", {})
    if not profiles:
        session.out.note(f"no profiles in {session.settings.path}")
        return
    out = session.out
    rows = [
        [out.safe(name), out.safe(_without_password(values).get("url", "–"), 120)]
        for name, values in profiles.items()
    ]
    out.table(["PROFILE", "URL"], rows)


def _edit(session: Session) -> int:
    require(not session.json, "config edit opens an editor: --json has no meaning here")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    path = file.config_path()
    if not path.exists():
        file.create(path)
    try:
        code = subprocess.call([*shlex.split(editor), str(path)])
    except (OSError, ValueError) as error:
        raise UsageProblem(f"cannot run the editor '{editor}': {error}; set EDITOR") from None
    if code != 0:
        raise Refusal(f"the editor '{editor}' ended with {code}")
    file.load(path)
    return Exit.DONE
