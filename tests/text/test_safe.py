"""Foreign text becomes inert text, whole or in chunks cut anywhere; secrets stay hidden."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kits.hostile import BROKEN_BYTES, CORPUS, dangerous, tallest
from rich.cells import cell_len

from glidemq_console.text.safe import (
    MASK,
    MAX_MARKS,
    SafeStream,
    cell_fit,
    cell_pad,
    clean,
    json_line,
    mask,
    mask_arguments,
    mask_review,
    masked_text,
)

WIDE_OPEN = {"limit": 10**7, "line_limit": 10**7, "max_lines": 10**7}
SHORT = {name: text for name, text in CORPUS.items() if len(text) < 2_000}
#: Everything, with the troublemakers drawn often.
anything = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("".join(sorted({c for text in SHORT.values() for c in text}))),
    )
)


@pytest.mark.parametrize("name", CORPUS)
def test_nothing_dangerous_is_left_of_the_corpus(name: str) -> None:
    for single_line in (False, True):
        cleaned = clean(CORPUS[name], single_line=single_line)

        assert dangerous(cleaned, newlines=not single_line) == []
        assert tallest(cleaned) <= MAX_MARKS
        cleaned.encode("utf-8")


@pytest.mark.parametrize("name", BROKEN_BYTES)
def test_broken_bytes_become_safe_text(name: str) -> None:
    assert dangerous(clean(BROKEN_BYTES[name])) == []


@given(anything)
def test_nothing_dangerous_is_left_of_any_text(text: str) -> None:
    cleaned = clean(text)

    assert dangerous(cleaned) == []
    assert tallest(cleaned) <= MAX_MARKS


@pytest.mark.thorough
def test_every_code_point_is_handled() -> None:
    every = "".join(f"a{chr(point)}" for point in range(sys.maxunicode + 1))

    assert dangerous(clean(every, **WIDE_OPEN)) == []


@pytest.mark.parametrize("name", SHORT)
def test_a_stream_cut_at_any_boundary_reads_as_one_piece(name: str) -> None:
    text = SHORT[name]
    whole = _fed([text])

    for cut in range(len(text) + 1):
        assert _fed([text[:cut], text[cut:]]) == whole
    assert _fed(list(text)) == whole
    assert dangerous(whole) == []
    assert whole == clean(text, **WIDE_OPEN)


@pytest.mark.parametrize("name", [*SHORT, *BROKEN_BYTES])
def test_bytes_cut_inside_a_character_read_as_one_piece(name: str) -> None:
    content = BROKEN_BYTES.get(name) or CORPUS[name].encode("utf-8", "replace")
    whole = _fed([content])

    for cut in range(len(content) + 1):
        assert _fed([content[:cut], content[cut:]]) == whole
    assert _fed([bytes([byte]) for byte in content]) == whole
    assert dangerous(whole) == []


@given(anything, st.lists(st.integers(0, 60), max_size=6))
def test_chunks_of_any_text_read_as_one_piece(text: str, cuts: list[int]) -> None:
    edges = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    chunks: list[str | bytes] = [text[a:b] for a, b in pairwise(edges)]

    assert _fed(chunks) == _fed([text])


def _fed(chunks: list[Any]) -> str:
    stream = SafeStream()
    return "".join([*map(stream.feed, chunks), stream.finish()])


@given(anything)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean(text)

    assert clean(once, **WIDE_OPEN) == once


@pytest.mark.parametrize(
    "text", ["plain", "naïve café", "漢字かな", "नमस्ते", "שָׁלוֹם", "한국어", "👍🏽 ✓ €", "a\nb\tc", "[/red]"]
)
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_control_characters_are_visible() -> None:
    assert clean("a\x1b[2J\x07\x7f\x9b") == "a␛[2J␇␡\ufffd"
    assert clean("a\r\nb\rc") == "a\nb␍c"
    assert clean("a\nb\tc", single_line=True) == "a↵b⇥c"
    assert clean("a\u202eb\u200bc\U000e0041") == "a⇄b¤c¤"


def test_halves_of_a_surrogate_pair_are_joined() -> None:
    assert _fed(["x\ud83d", "\ude00y"]) == "x😀y"
    assert clean("\ud83d") == "\ufffd"


def test_a_tower_of_marks_is_cut_and_said_so() -> None:
    assert clean("e" + "\u0301" * 50 + "x") == "e" + "\u0301" * MAX_MARKS + "¤x"


def test_a_mark_never_sits_on_what_stands_before_the_text() -> None:
    assert clean("\u0301a\n\u0301b") == "◌\u0301a\n◌\u0301b"


def test_lengths_are_capped_with_an_honest_marker() -> None:
    assert clean("x" * 1_250_000, limit=10).endswith("xxx… 1.2 MB more")
    assert clean("é" * 20, limit=10) == "é" * 10 + "… 20 B more"
    assert clean("x" * 50 + "\ny", line_limit=10) == "x" * 10 + "… 40 B more\ny"
    assert clean("a\nb\nc\nd", max_lines=2) == "a\nb\n… 2 lines more"
    assert clean("a\nb\nc", max_lines=2) == "a\nb\n… 1 line more"
    assert clean("x" * 100, limit=50, line_limit=10) == "x" * 10 + "… 90 B more"
    assert clean("é".encode() * 1_000, limit=10).startswith("éééééééééé… ")


def test_markup_stays_as_it_was_written() -> None:
    assert clean(CORPUS["markup"]) == CORPUS["markup"]


@given(anything, st.integers(0, 40))
def test_cells_fit_exactly(text: str, width: int) -> None:
    safe = clean(text, single_line=True)

    assert cell_len(cell_fit(safe, width)) <= width
    assert cell_len(cell_pad(safe, width)) == width
    if cell_len(safe) <= width:
        assert cell_fit(safe, width) == (safe if width else "")


def test_wide_text_is_cut_by_cells() -> None:
    assert cell_fit("漢字漢字", 5) == "漢字…"
    assert cell_fit("漢字漢字", 4) == "漢…"
    assert cell_fit("漢字", 4) == "漢字"
    assert cell_pad("7", 3, right=True) == "  7"


# --- secrets ---


def test_secrets_are_masked_by_the_name_of_the_field() -> None:
    value = {
        "api_key": "k",
        "apiKey": "k",
        "X-API-Key": "k",
        "OPENAI_API_KEY": "k",
        "password": 1234,
        "nested": [{"access_token": "t", "fine": "text"}],
        "credentials": {"user": "u", "list": ["a", 1]},
        "empty_secret": "",
        "secret": None,
    }

    masked, count = mask(value)

    assert masked == {
        "api_key": MASK,
        "apiKey": MASK,
        "X-API-Key": MASK,
        "OPENAI_API_KEY": MASK,
        "password": MASK,
        "nested": [{"access_token": MASK, "fine": "text"}],
        "credentials": {"user": MASK, "list": [MASK, MASK]},
        "empty_secret": "",
        "secret": None,
    }
    assert count == 9


def test_usage_is_not_a_secret() -> None:
    value = {
        "tokens": {"input": 5},
        "max_tokens": 100,
        "total_tokens": 7,
        "token_weights": {"output": 2},
        "key": "v",
    }

    assert mask(value) == (value, 0)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnopqrstuvwxyz",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwxyz0123",
        "xoxb-1234567890-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_secrets_are_masked_by_their_shape(secret: str) -> None:
    masked, count = mask([f"before {secret} after"])

    assert masked == [f"before {MASK} after"]
    assert count == 1


def test_masked_text_keeps_what_says_which_secret_it_was() -> None:
    assert masked_text("Authorization: Bearer abcdefghijk") == f"Authorization: Bearer {MASK}"
    assert masked_text("valkeys://app:hunter2@db:6379") == f"valkeys://app:{MASK}@db:6379"
    assert masked_text("api_key=0123456789abcdef0123, next") == f"api_key={MASK}, next"
    assert masked_text('{"password": "correct horse"}') != '{"password": "correct horse"}'
    assert masked_text("max_tokens: 100000000") == "max_tokens: 100000000"
    assert masked_text("A token is a piece of a word.") == "A token is a piece of a word."


def test_revealing_gives_the_value_itself() -> None:
    value = {"api_key": "k"}

    assert mask(value, reveal=True) == (value, 1)
    assert masked_text("sk-abcdefghijklmnopqrstuvwxyz", reveal=True).startswith("sk-abc")


def test_a_value_nested_past_reason_is_hidden_not_a_crash() -> None:
    value: Any = "x"
    for _ in range(600):
        value = [value]

    assert mask(value)[1] == 1


def test_a_key_without_an_end_hides_no_more_than_the_key() -> None:
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"

    for between, end in (
        (f"\n{body}\n{body}", "\n"),
        (f"\\n{body}\\n{body}", "\\n"),
        (f" {body} {body}", " "),
    ):
        text = f"see -----BEGIN PRIVATE KEY-----{between}{end}then delete /srv/reports and mail alice"
        assert masked_text(text) == f"see {MASK}{end}then delete /srv/reports and mail alice"
    assert masked_text("-----BEGIN PRIVATE KEY-----") == MASK
    assert masked_text(f"a -----BEGIN PRIVATE KEY-----\n\nDelete everything, then {body}") == (
        f"a {MASK}\n\nDelete everything, then {body}"
    )


def test_a_key_with_an_end_is_hidden_however_it_is_written() -> None:
    for body in ("\nMIIE\n", "\\nMIIE\\n", " MIIE short ", "\nProc-Type: 4,ENCRYPTED\n\nMI-IE\n"):
        text = f"a -----BEGIN EC PRIVATE KEY-----{body}-----END EC PRIVATE KEY----- b"
        assert masked_text(text) == f"a {MASK} b"


def test_a_secret_is_counted_once() -> None:
    for text in (
        '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n"}',
        "token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        '"api_key": "sk-proj-abcdefghijklmnopqrstuvwxyz"',
        "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ):
        assert mask(text)[1] == 1, text


def test_a_quoted_secret_is_hidden_to_its_end_however_long() -> None:
    assert (
        masked_text(f'"password": "{"correct horse " * 1_000}" said bob') == f'"password": "{MASK}" said bob'
    )


def test_arguments_of_a_call_are_masked_by_name_and_else_stay_as_they_were_written() -> None:
    written = '{ "path":"/srv/a",  "path":"/srv/b" }'

    assert mask_arguments('{"dbPassword": "x", "to": "C-1"}') == ('{"dbPassword": "•••", "to": "C-1"}', 1)
    assert mask_arguments(written) == (written, 0)
    assert mask_arguments("rm -rf / # token=abcdefghijk") == (f"rm -rf / # token={MASK}", 1)
    assert mask_arguments('{"token": ' + "[" * 100_000) == ('{"token": ' + "[" * 100_000, 0)


def test_the_secrets_of_a_review_are_masked_and_counted() -> None:
    call = {"name": "login", "args": '{"dbPassword": "x"}', "bytes": 19, "cut": False}
    review = {"data": {"api_key": "k"}, "draft": "token=abcdefghijk", "tool_calls": [call], "name": "a"}

    assert mask_review(review) == {
        "data": {"api_key": MASK},
        "draft": f"token={MASK}",
        "tool_calls": [{**call, "args": '{"dbPassword": "•••"}'}],
        "name": "a",
        "masked": 3,
    }
    assert mask_review(review, reveal=True) == review | {"masked": 0}


#: What each pattern could stumble over, repeated to a megabyte.
STUMBLING_BLOCKS = (
    *("eyJ-", "eyJ.", "eyJaaaaaa.", "a-", "-", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN A"),
    *("-----BEGIN PRIVATE KEY-----" + "A" * 40, "-----BEGIN PRIVATE KEY-----\nProc-Type: "),
    *(
        "-----BEGIN PRIVATE KEY-----" + "\\n" * 50,
        "-----BEGIN " + "A" * 60,
        "-----BEGIN PRIVATE KEY----- AAAA",
    ),
    *(
        'token="',
        'password:"\\',
        "api_key",
        "secret=",
        "token    :    ",
        'pwd="\\\\',
        "bearer ",
        "bearer" + " " * 1_000,
    ),
    *("a://", "a.a.a.", "ab://b:c", "a.a.a.a.a.a://b:" + "c" * 250, "sk-", "sk-sk-sk-sk-sk", "AKIA", "ghp_"),
    *("glpat-", "github_pat_", "hf_", "xoxb-", "AIza", "Authorization: bearer Authorization: "),
)
BEFORE = ("", "-----BEGIN PRIVATE KEY-----", 'password="', "bearer", "eyJ", "https://", "eyJaaaaaaaa.")


@pytest.mark.thorough
def test_a_megabyte_made_to_stall_is_masked_before_anybody_notices() -> None:
    # In a process of its own, for a search cannot be stopped; one pattern whose cost grows with the square of the
    # length takes minutes for a single one of these texts.
    program = (
        "import json, sys\n"
        "from glidemq_console.text.secrets import masked_text\n"
        "for size, before, block in json.load(sys.stdin):\n"
        "    masked_text((before + block * (size // len(block)))[:size])\n"
    )
    cases = [
        (200_000 if before else 1_000_000, before, block) for before in BEFORE for block in STUMBLING_BLOCKS
    ]

    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(cases), text=True, timeout=240, check=False
    )

    assert done.returncode == 0


# --- json ---


@given(
    st.recursive(
        st.one_of(anything, st.integers(), st.none()), lambda inner: st.dictionaries(anything, inner)
    )
)
@settings(max_examples=60)
def test_json_is_inert_ascii_escaped_and_the_same_value(value: Any) -> None:
    line = json_line(value)

    assert dangerous(line, newlines=False) == []
    assert json.loads(line) == json.loads(json.dumps(value))


def test_json_escapes_what_the_interface_names() -> None:
    assert json_line({"a": "\x1b\x7f\x9b\u202e\u200b\U000e0041é"}) == (
        '{"a":"\\u001b\\u007f\\u009b\\u202e\\u200b\\udb40\\udc41é"}'
    )
    assert json_line([float("nan"), float("inf"), 1.5]) == "[null,null,1.5]"


def test_the_tables_know_every_format_character_of_this_python() -> None:
    formats = [
        chr(p)
        for p in range(sys.maxunicode + 1)
        if unicodedata.category(chr(p)) in ("Cf", "Cc", "Zl", "Zp", "Cs")
    ]

    assert all(clean(character, single_line=True) != character for character in formats)
