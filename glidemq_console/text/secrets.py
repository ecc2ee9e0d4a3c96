"""Hide secrets in what is shown, copied or printed: by field name and by the shape of the value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: What stands in the place of a secret.
MASK: Final = "•••"

_NAMES: Final = re.compile(
    "auth|bearer|jwt|token|secret|pwd|passphrase|password|passwd|cookie|setcookie|credentials?|sessionid|"
    "connectionstring|(?:proxy)?authorization|(?:access|secretaccess)keyid|"
    # With whatever stands before it: client_secret, OPENAI_API_KEY, dbPassword.
    ".*(?:apikey|secret|password|passwd|passphrase|privatekey|secretkey|accesskey|signingkey|encryptionkey|"
    "(?:auth|access|refresh|id|bearer|session|security|api|csrf|bot|user)token)"
)
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")

_KEYED: Final = (
    r"(?:api[_-]?key|access[_-]?key|secret(?:[_-]?key)?|private[_-]?key|passw(?:or)?d|passphrase|pwd|"
    r"client[_-]?secret|(?:auth|access|refresh|session|api)[_-]?token|token|authorization|x-api-key|signature)"
)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What one kind of secret looks like in a text. The group `kept` stays readable before the mask."""

    #: Lower-case beginnings; a text that contains none of them is not searched.
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(hints: str, pattern: str) -> _Shape:
    return _Shape(tuple(hints.split()), re.compile(pattern))


_BREAK: Final = r"(?:\s|\\[nr])"
#: Every pattern takes time in proportion to the text, whatever the text: runs are possessive (`+` behind the
#: quantifier), bounded, or begin only where no longer run of the same characters could have begun.
#: What has a name before it comes before what is told by its own beginning, so that each is counted once.
_SHAPES: Final = (
    # To its end if that is the next thing in dashes, else what looks like the lines of a key.
    _shape(
        "-----begin",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
        r"(?:[^-]*+(?:-(?!----)[^-]*+)*+-----END [A-Z ]{0,40}PRIVATE KEY-----"
        rf"|(?:{_BREAK}*+(?:Proc-Type|DEK-Info): [^\n\\]{{0,200}})*+(?:{_BREAK}*+[A-Za-z0-9+/=]{{20,}}+)*+"
        rf"(?:{_BREAK}++[A-Za-z0-9+/]{{1,19}}={{1,2}})?)",
    ),
    _shape(
        "key secret passw passphrase pwd token authorization signature",
        rf"(?P<kept>(?i:(?<![a-z]){_KEYED}[\"']?\s{{0,4}}[:=]\s{{0,4}}\"))"
        r"(?!•)(?:(?:[^\"\\\n]++|\\.)++(?=\")|(?:[^\"\\\n]|\\.){1,4096}+)",
    ),
    _shape(
        "key secret passw passphrase pwd token authorization signature",
        rf"(?P<kept>(?i:(?<![a-z]){_KEYED}[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?))"
        r"(?!(?i:bearer|basic)\s)[^\s\"',;&{}\[\]()<>•]{8,}+",
    ),
    _shape("bearer basic", r"(?P<kept>\b(?i:bearer|basic)\s++)[A-Za-z0-9._~+/=-]{8,}+"),
    _shape("://", r"(?P<kept>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,128}+:)[^\s/@•]{1,256}+(?=@)"),
    _shape("sk- sk_ pk- pk_ rk- rk_", r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}+"),
    _shape("akia asia agpa aida aroa", r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[0-9A-Z]{16}\b"),
    _shape(
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- hf_",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_[A-Za-z0-9_]{20,}+|glpat-[\w-]{16,}+|hf_[A-Za-z0-9]{20,}+)",
    ),
    _shape("xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}+"),
    _shape("aiza", r"\bAIza[0-9A-Za-z_-]{30,}+"),
    # From the first `eyJ` of a run of such characters: where that one is no token, no later one of the run is.
    _shape(
        "eyj",
        r"(?<![A-Za-z0-9_-])(?P<kept>(?>(?:(?!eyJ)[A-Za-z0-9_]*+-)*+))"
        r"eyJ[A-Za-z0-9_-]{6,}+\.[A-Za-z0-9_-]{6,}+(?:\.[A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]++){0,2})?",
    ),
)


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret, in any spelling (`apiKey`, `X-API-Key`)."""
    plain = _SEPARATORS.sub("", name.lower())
    return _NAMES.fullmatch(plain) is not None


def mask(value: Any, reveal: bool = False) -> tuple[Any, int]:
    """Return a JSON value with its secrets masked, and how many were masked; the value itself is not changed.

    Args:
        value: Any JSON value.
        reveal: Return the value as it is, with the count of what would be masked.
    """
    masked, count = _mask(value, secret=False, depth=0)
    return (value if reveal else masked), count


def _mask(value: Any, *, secret: bool, depth: int) -> tuple[Any, int]:
    if isinstance(value, str):
        if secret:
            return (MASK, 1) if value else (value, 0)
        return _masked(value)
    if isinstance(value, dict | list | tuple) and depth > 200:
        # Deeper than anything readable: hide rather than overflow the stack.
        return MASK, 1
    if isinstance(value, dict):
        total = 0
        fields: dict[Any, Any] = {}
        for key, item in value.items():
            named = isinstance(key, str) and is_secret_name(key)
            fields[key], count = _mask(item, secret=secret or named, depth=depth + 1)
            total += count
        return fields, total
    if isinstance(value, list | tuple):
        pairs = [_mask(item, secret=secret, depth=depth + 1) for item in value]
        return [item for item, _ in pairs], sum(count for _, count in pairs)
    if secret and isinstance(value, int | float) and not isinstance(value, bool):
        return MASK, 1
    return value, 0


def masked_text(text: str, reveal: bool = False) -> str:
    """Return free text with everything that has the shape of a secret masked."""
    return text if reveal else _masked(text)[0]


def mask_arguments(text: str) -> tuple[str, int]:
    """Return the arguments of a tool call with their secrets masked, and how many were masked.

    Arguments that are JSON are masked by the names of their fields too. Without a secret the text is returned
    as it is: an approver reads what was written, not what a parser made of it.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(text, object_pairs_hook=_distinct)
        except (ValueError, RecursionError):
            return _masked(text)
        masked, count = mask(value)
        return (json.dumps(masked, ensure_ascii=False), count) if count else (text, 0)
    return _masked(text)


def mask_review(review: Mapping[str, Any], reveal: bool = False) -> dict[str, Any]:
    """Return the JSON object of an approval with its secrets masked.

    `masked` is added to it: how many are masked in payload, draft and tool calls.
    """
    shown: dict[str, Any] = {}
    total = 0
    for key, value in review.items():
        if key == "tool_calls":
            calls = [(call, mask_arguments(call["args"])) for call in value]
            shown[key] = [{**call, "args": call["args"] if reveal else args} for call, (args, _) in calls]
            total += sum(count for _, (_, count) in calls)
        else:
            shown[key], count = mask(value, reveal)
            total += count if key in ("data", "raw", "draft") else 0
    return shown | {"masked": 0 if reveal else total}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that is there twice: masking would drop one of its values."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name is there twice")
    return fields


def _masked(text: str) -> tuple[str, int]:
    lowered, total = text.lower(), 0
    for shape in _SHAPES:
        if any(hint in lowered for hint in shape.hints):
            text, count = shape.pattern.subn(_keep_prefix, text)
            total += count
    return text, total


def _keep_prefix(match: re.Match[str]) -> str:
    return match.groupdict().get("kept", "") + MASK
