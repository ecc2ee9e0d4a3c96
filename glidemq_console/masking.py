"""Hide secrets in what is shown, copied or printed: by field name and by the shape of the value."""

from __future__ import annotations

import re
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
#: The named groups are what stays readable before the mask.
_SHAPES: Final = re.compile(
    "|".join(
        (
            r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}",
            r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[0-9A-Z]{16}\b",
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,})",
            r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
            r"\bAIza[0-9A-Za-z_-]{30,}",
            r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"(?P<scheme>\b(?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}",
            r"(?P<url>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,128}:)[^\s/@]{1,256}(?=@)",
            rf"(?P<quoted>(?i:(?<![a-z]){_KEYED}[\"']?\s{{0,4}}[:=]\s{{0,4}}\"))(?:[^\"\\\n]|\\.){{1,4096}}",
            rf"(?P<field>(?i:(?<![a-z]){_KEYED}[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?))"
            r"(?!(?i:bearer|basic)\s)[^\s\"',;&{}\[\]()<>•]{8,}",
        )
    )
)
#: What any shape begins with: ordinary prose then costs a few substring searches only.
_BEGINNINGS: Final = (
    "sk- sk_ pk- pk_ rk- rk_ akia asia agpa aida aroa ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- hf_ xox aiza "
    "eyj -----begin bearer basic :// key secret passw passphrase pwd token authorization signature"
)
_HINTS: Final = tuple(_BEGINNINGS.split())


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


def _masked(text: str) -> tuple[str, int]:
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return text, 0
    return _SHAPES.subn(_keep_prefix, text)


def _keep_prefix(match: re.Match[str]) -> str:
    kept = match["scheme"] or match["url"] or match["quoted"] or match["field"] or ""
    return kept + MASK
