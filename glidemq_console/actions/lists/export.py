"""Write a list, a job or a flow to a file: what is typed for it, and the file that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glidemq_core.errors import GlideMQError

from ...saving.exports import Export, SavedList, SavedOne
from ...saving.files import reason, save, suggested, why_not_save
from ...saving.formats import FORMATS
from ...text.safe import json_line, short
from .. import keys
from ..base import Actions, Context, Unchanged, Words

if TYPE_CHECKING:
    from ..protocols import Console

ACTIONS: Actions[Context] = Actions()
#: The word that lets payloads into the file.
_PAYLOAD: Final = "payload"
_FORMS: Final = tuple(FORMATS)
_HOW: Final = f"export {'|'.join(_FORMS)} [{_PAYLOAD}] [PATH]"
_WORDS = Words("text", lambda _: [line for form in _FORMS for line in (form, f"{form} {_PAYLOAD}")])


class Exports:
    """The file that this console is writing, one at a time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.current: Export | None = None

    def stop(self) -> bool:
        """End the file with what there is; False when none is being written."""
        if self.current is None:
            return False
        self.current.stop()
        return True

    def start(self, export: Export, source: SavedList) -> str:
        """Begin to write; return what to show."""
        if self.current is not None:
            return Unchanged("another file is being written; esc stops it")
        self.current = export
        self._console.run_worker(self._write(export, source), group="exports", exit_on_error=False)
        return export.progress

    async def _write(self, export: Export, source: SavedList) -> None:
        console = self._console
        try:
            words = await export.write(source)
        except GlideMQError as error:
            console.show_message(f"{export.result}: {error.message}", "error")
        except (OSError, RuntimeError, ValueError) as error:
            console.show_message(f"not saved: {reason(error)}", "error")
        except Exception as error:  # noqa: BLE001  # whatever it is, the console goes on and shows it
            console.report_defect(error, "exporting")
        else:
            console.show_message(words, "foreground" if export.partial is None else "warning")
        finally:
            self.current = None


def _why_not(context: Context) -> str | None:
    if context.page.saves(payload=False) is None:
        return "there is nothing to save here"
    return None


@ACTIONS("export", why_not=_why_not, prompts=True, takes=_WORDS)
async def _export(context: Context) -> str | None:
    """Save what is listed, or the job or flow, to a new file: csv, json or md; payloads only where you ask for them."""
    if not context.words:
        return await _ask(context)
    form, *rest = context.words
    if form not in FORMATS:
        return Unchanged(f"as what? {_HOW}")
    payload = rest[:1] == [_PAYLOAD]
    return await _save(context, form, " ".join(rest[payload:]), payload=payload)


@Actions[Context]()("save", keys.SAVE, why_not=_why_not, prompts=True)
async def save_to_file(context: Context) -> str | None:
    """Save what is listed, or the job or flow, to a new file, without payloads unless you ask for them."""
    return await _ask(context)


async def _ask(context: Context) -> str | None:
    """Ask for the file; its ending says the form."""
    from ...widgets.dialogs.dialog import PromptDialog

    source = context.page.saves(payload=False)
    assert source is not None
    one = isinstance(source, SavedOne)
    body = (
        "JSON, without the payload; write `payload` before the path to have it."
        if one
        else "The ending says the form: .csv, .json or .md. Write `payload` before the path to have payloads too."
    )
    dialog = PromptDialog(
        f"Save {short(source.name, 60)}" if isinstance(source, SavedOne) else "Save what is listed",
        f"{body} Secrets stay masked unless they are revealed.",
        label="file",
        value=_place(source, "json" if one else "csv"),
        yes="Save",
        validate=lambda text: _problem(text, one=one),
    )
    answer = await context.console.push_screen_wait(dialog)
    if answer is None:
        return None
    payload, where = _parted(answer)
    return await _save(context, _form_of(where), where, payload=payload)


def _parted(text: str) -> tuple[bool, str]:
    """What was typed in the dialog: whether payloads are wanted, and the path."""
    word, _, rest = text.strip().partition(" ")
    return (True, rest.strip()) if word == _PAYLOAD else (False, text.strip())


def _form_of(where: str) -> str:
    return Path(where).suffix.removeprefix(".").lower()


def _problem(text: str, *, one: bool) -> str | None:
    """Say what is wrong with what was typed in the dialog."""
    where = _parted(text)[1]
    if why := why_not_save(where):
        return why
    if one:
        return None if _form_of(where) == "json" else "it is saved as JSON: let the name end in .json"
    return None if _form_of(where) in FORMATS else "let the name end in .csv, .json or .md"


def _place(source: SavedList | SavedOne, form: str) -> str:
    """Return where it goes unless somebody says where: the current folder, under a name that says what it is."""
    if isinstance(source, SavedOne):
        return suggested(source.name, f".{form}")
    about = source.about
    words: Sequence[str | None] = (about.screen, about.queue, *about.narrowed.values())
    moment = datetime.fromtimestamp(about.at_ms / 1_000).strftime("%Y%m%d-%H%M%S")
    return suggested("-".join(short(word, 20) for word in words if word)[:60] + f"-{moment}", f".{form}")


async def _save(context: Context, form: str, where: str, *, payload: bool) -> str:
    source = context.page.saves(payload=payload)
    if source is None:
        return Unchanged("there is nothing to save here any more")
    where = where or _place(source, form)
    if isinstance(source, SavedOne):
        if form != "json":
            return Unchanged(f"{short(source.name, 60)} is saved as JSON: export json [{_PAYLOAD}] [PATH]")
        return save(where, json_line(await source.read(), indent=2))
    if why := why_not_save(where):
        return Unchanged(f"not saved: {why}")
    export = Export(where, FORMATS[form](), source.about, total=source.total)
    return context.console.exports.start(export, source)
