"""Text that means harm or trouble, and a check that none of it is left."""

from __future__ import annotations

import unicodedata

ESC = "\x1b"

#: Name -> text that a job, a token or an error may hold.
CORPUS: dict[str, str] = {
    "csi colour": f"{ESC}[31mred{ESC}[0m",
    "clear screen": f"{ESC}[2J{ESC}[H",
    "clipboard (osc 52)": f"{ESC}]52;c;aGVsbG8=\x07",
    "clipboard, st": f"{ESC}]52;c;aGVsbG8={ESC}\\",
    "title": f"{ESC}]0;owned\x07",
    "link (osc 8)": f"{ESC}]8;;https://evil.example{ESC}\\click{ESC}]8;;{ESC}\\",
    "device report": f"{ESC}[6n{ESC}[c{ESC}Z",
    "alternate screen": f"{ESC}[?1049h{ESC}[?1000h",
    "dcs": f"{ESC}P$q q{ESC}\\",
    "c1 csi": "\x9b31mred\x9c",
    "c1 osc": "\x9d52;c;aGVsbG8=\x9c",
    "all c0": "".join(map(chr, range(0x20))),
    "all c1": "".join(map(chr, range(0x7F, 0xA0))),
    "backspaces": "rm -rf /\b\b\b\b\b\b\b\bls      ",
    "carriage return": "real\rfake",
    "cr lf": "one\r\ntwo\r\r\nthree",
    "bidi override": "user\u202etxt.exe\u202c",
    "bidi isolate": "a\u2066b\u2067c\u2068d\u2069\u200e\u200f\u061c",
    "zero width": "pay\u200bpal\u200c\u200d\u2060\ufeff\u00ad\u180e\u034f",
    "fillers": "a\u115f\u1160\u3164\uffa0b",
    "line separators": "a\u2028b\u2029c\x85d",
    "tags": "hi\U000e0001\U000e0068\U000e0069\U000e007f",
    "variation selectors": "a\ufe00\ufe0f\U000e0100\U000e01ef",
    "emoji with selector": "⚠\ufe0f ok ❤\ufe0f 1\ufe0f\u20e3",
    "emoji family": "👨\u200d👩\u200d👧 👍🏽 x🏽",
    "combining tower": "Z" + "\u0301\u0316\u0338" * 60 + "end",
    "mark first": "\u0301start\n\u0301line",
    "indic": "नमस्ते สวัสดี שָׁלוֹם",
    "hangul parts": "한" + "\u1161" * 40,
    "wide": "漢字かな交じり文 ｆｕｌｌ 한국어",
    "lone surrogates": "a\ud800b\udc00c\udfff\ud83d",
    "split pair": "x\ud83d\ude00y",
    "not characters": "a\ufffe\uffff\ufdd0\U0001fffeb",
    "replacement": "a\ufffdb",
    "markup": "[/red] [bold]x[/] [@click=app.quit]go[/] [link=https://evil.example]x[/link] \\[",
    "unclosed markup": "[red [[/ ]] [/]",
    "template": "{0} %s $primary {{x}} :smile:",
    "url": "https://user:hunter2hunter2@evil.example/path?q=1",
    "long line": "x" * 1_000_000,
    "many lines": "line\n" * 20_000,
    "null": "a\x00b",
    "tabs": "a\tb\t\tc",
    "interlinear": "\ufff9base\ufffaruby\ufffb",
    "shorthand": "\U0001bca0\U0001d173x",
}

#: Bytes that are not UTF-8, or only in part.
BROKEN_BYTES: dict[str, bytes] = {
    "stray continuation": b"a\x80\xbfb",
    "cut sequence": "漢字😀".encode()[:-1],
    "overlong": b"a\xc0\xafb\xe0\x80\x80",
    "surrogate": b"\xed\xa0\x80x",
    "c1 as bytes": b"\x9b31m \x9d52;c;x\x07",
    "c1 as utf-8": "\x9b31m".encode(),
    "beyond unicode": b"\xf4\x90\x80\x80",
    "all bytes": bytes(range(256)),
}


def is_dangerous(character: str, *, newlines: bool = True) -> bool:
    """Return whether a character may not reach a terminal, by the Unicode tables rather than by our own."""
    if character in "\n\t":
        return not newlines
    point = ord(character)
    return (
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        or 0xE0000 <= point <= 0xE0FFF
        or 0xFE00 <= point <= 0xFE0F
        or character in "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
        or 0x180B <= point <= 0x180F
    )


def dangerous(text: str, *, newlines: bool = True) -> list[str]:
    """Return the dangerous characters of a text, as code points."""
    return [f"U+{ord(character):04X}" for character in text if is_dangerous(character, newlines=newlines)]


def tallest(text: str) -> int:
    """Return the length of the longest run of combining marks."""
    longest = run = 0
    for character in text:
        run = run + 1 if unicodedata.category(character)[0] == "M" else 0
        longest = max(longest, run)
    return longest
