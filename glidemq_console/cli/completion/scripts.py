"""The scripts that make bash, zsh and fish ask for completions, and where each shell finds them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..errors import Refusal


class Shell(StrEnum):
    """Shells that can ask."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


#: The names of the variables are those of `__init__`. A program that fails, or is gone, completes nothing.
_BASH = r"""# Completion of glidemq in bash: eval "$(glidemq completion bash)"
_glidemq() {
    local reply program="${1/#\~\//$HOME/}"
    COMPREPLY=()
    while IFS= read -r reply; do
        case $reply in
            :nospace) compopt -o nospace 2>/dev/null ;;
            :files) compopt -o default 2>/dev/null ;;
            *) COMPREPLY[${#COMPREPLY[@]}]=$reply ;;
        esac
    done < <(_GLIDEMQ_COMPLETE=bash _GLIDEMQ_LINE="${COMP_LINE:0:COMP_POINT}" \
        _GLIDEMQ_BREAKS="$COMP_WORDBREAKS" "$program" </dev/null 2>/dev/null)
}
complete -F _glidemq glidemq
"""
_ZSH = r"""#compdef glidemq
# Completion of glidemq in zsh: eval "$(glidemq completion zsh)"
_glidemq() {
    local reply program="${(Q)words[1]}" nospace= files=
    local -a found shown
    program=${~program}
    while IFS= read -r reply; do
        case $reply in
            :nospace) nospace=1 ;;
            :files) files=1 ;;
            *)
                found+=("${reply%%$'\t'*}")
                shown+=("${reply/$'\t'/  }")
                ;;
        esac
    done < <(_GLIDEMQ_COMPLETE=zsh _GLIDEMQ_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" \
        "$program" </dev/null 2>/dev/null)
    if [[ -n $files ]]; then
        _files
    elif [[ -n $nospace ]]; then
        compadd -S '' -a found
    elif (( $#found )); then
        compadd -l -d shown -a found
    fi
}
if [[ "${funcstack[1]}" = _glidemq ]]; then
    _glidemq "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _glidemq glidemq
fi
"""
_FISH = r"""# Completion of glidemq in fish: glidemq completion fish | source
function __glidemq_complete
    set -l line (commandline -cp | string collect)
    set -l program (commandline -opc)[1]
    for reply in (env _GLIDEMQ_COMPLETE=fish _GLIDEMQ_LINE="$line" $program </dev/null 2>/dev/null)
        switch $reply
            case ':nospace'
            case ':files'
                __fish_complete_path (commandline -ct)
            case '*'
                printf '%s\n' $reply
        end
    end
end
complete -c glidemq -f -a '(__glidemq_complete)'
"""
SCRIPTS = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH}


def current_shell() -> Shell:
    """Return the user's shell, as `SHELL` names it.

    Raises:
        Refusal: it is none of those that can ask.
    """
    name = Path(os.environ.get("SHELL", "")).name
    if name not in list(Shell):
        known = ", ".join(Shell)
        raise Refusal(f"SHELL is '{name}', none of {known}: name it, as in glidemq completion bash")
    return Shell(name)


@dataclass(frozen=True, slots=True)
class Installed:
    """Where a script stands, and the file of the user that loads it; None: the shell finds it by itself."""

    script: Path
    loader: Path | None


def install(shell: Shell) -> Installed:
    """Write the script of a shell and have the user's shells load it; again is fine.

    Raises:
        Refusal: a file cannot be written.
    """
    home = Path.home()
    if shell is Shell.FISH:
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        script, loader = config / "fish" / "completions" / "glidemq.fish", None
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
        script = data / "glidemq" / f"completion.{shell}"
        loader = home / ".bashrc"
        if shell is Shell.ZSH:
            loader = Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(SCRIPTS[shell], encoding="utf-8")
        if loader is not None:
            _load(loader, script)
    except OSError as error:
        raise Refusal(f"cannot write {error.filename or script}: {error.strerror}") from error
    return Installed(script, loader)


def _load(loader: Path, script: Path) -> None:
    """Add a line that loads the script, unless it is there."""
    quoted = "'" + str(script).replace("'", "'\\''") + "'"
    line = f"[ -r {quoted} ] && . {quoted}  # completion of glidemq"
    before = loader.read_bytes() if loader.exists() else b""
    if os.fsencode(line) in before.split(b"\n"):
        return
    with loader.open("ab") as file:
        file.write((b"" if not before or before.endswith(b"\n") else b"\n") + os.fsencode(line) + b"\n")
