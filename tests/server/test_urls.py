"""URLs and options of a connection: what they name, what is refused, no password shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from glidemq_core import errors
from glidemq_core.server.url import redact, settings

# --- URLs


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("valkey://localhost", (("localhost", 6379),)),
        ("redis://h:1/0", (("h", 1),)),
        ("valkeys://[::1]:7000/", (("::1", 7000),)),
        ("rediss://a:1,b,c:3?cluster=1", (("a", 1), ("b", 6379), ("c", 3))),
    ],
)
def test_url_names_addresses(url: str, addresses: tuple[tuple[str, int], ...]) -> None:
    assert settings(url).addresses == addresses


def test_url_parameters_and_keywords_that_beat_them() -> None:
    chosen = settings(
        "valkeys://h?cluster=1&prefix=mine&az=eu-1a&insecure=1&read_only=1", prefix="other", read_only=False
    )

    assert (chosen.tls, chosen.cluster, chosen.prefix, chosen.az) == (True, True, "other", "eu-1a")
    assert (chosen.read_from, chosen.insecure, chosen.read_only) == ("az", True, False)


def test_password_comes_from_url_keyword_file_or_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from file\n")
    monkeypatch.setenv("GLIDEMQ_PASSWORD", "from env")

    assert settings("valkey://h").password == "from env"
    assert settings("valkey://u:a%40b%2Fc@h").password == "a@b/c"
    assert settings("valkey://u:p@h", password="keyword").password == "keyword"
    assert settings("valkey://u:p@h", password_file=tmp_path / "secret").password == "from file"


@pytest.mark.parametrize(
    ("url", "keywords", "option"),
    [
        ("", {}, "url"),
        ("localhost:6379", {}, "url"),
        ("http://h", {}, "url"),
        ("valkey://", {}, "url"),
        ("valkey://h/1", {}, "url"),
        ("valkey://h:0", {}, "url"),
        ("valkey://h:99999", {}, "url"),
        ("valkey://h:x", {}, "url"),
        ("valkey://a,,b", {}, "url"),
        ("valkey://h?colour=red", {}, "url"),
        ("valkey://h?prefix=a&prefix=b", {}, "url"),
        ("valkey://h?cluster=maybe", {}, "cluster"),
        ("valkey://h?prefix=a{b", {}, "prefix"),
        ("valkey://h?ca=/nowhere.pem", {}, "ca"),
        ("valkeys://h?cert=/nowhere.pem", {}, "cert"),
        ("valkey://h", {"password_file": "/nowhere"}, "password_file"),
        ("valkey://h", {"read_from": "moon"}, "read_from"),
        ("valkey://h", {"read_from": "az"}, "az"),
        ("valkey://h", {"request_timeout": 0}, "request_timeout"),
        ("valkey://h", {"max_inflight": -1}, "max_inflight"),
    ],
)
async def test_bad_urls_and_options_are_refused_in_one_line(
    url: str, keywords: dict[str, Any], option: str
) -> None:
    with pytest.raises(errors.InvalidOptionError) as caught:
        settings(url, **keywords)

    assert caught.value.option == option
    assert "\n" not in str(caught.value)


SECRET = "s3cr/t?#@x"


@pytest.mark.parametrize(
    "url",
    [
        f"valkey://u:{SECRET}@h",
        f"valkey://:{SECRET}@h:1/5",
        f"http://u:{SECRET}@h",
        "valkey://u:s3cr@h/3",
        "valkey://u:s3cr@h:99999",
        "valkey://u:s3cr@h?bad=1",
        "u:s3cr@h",
        "valkey://u:s3cr?t@h",
        "valkey://u:s3cr#t@h",
    ],
)
def test_no_refusal_shows_a_password(url: str) -> None:
    with pytest.raises(errors.InvalidOptionError) as caught:
        settings(url)

    assert "s3cr" not in f"{caught.value!r} {caught.value.value!r} {vars(caught.value)}"


def test_settings_and_redaction_hide_the_password() -> None:
    assert "pw" not in repr(settings("valkey://u:pw@h"))
    assert redact("valkey://u:pw@h:1/0?prefix=x") == "valkey://u@h:1/0?prefix=x"
    assert redact("valkey://:pw@h") == "valkey://h"
    assert redact("valkey://h?prefix=x") == "valkey://h?prefix=x"
    assert redact("valkey://h:1?password=pw&cluster=1&tls=x") == "valkey://h:1?password=•••&cluster=1&tls=•••"
    assert redact("h?password=pw") == "h?password=•••"
    assert redact("embedded:/home/a@b/data") == "embedded:/home/a@b/data"


@pytest.mark.parametrize(
    "url", ["u:s3cr@h:6379", "s3cr@h", ":s3cr@h", "valkey:u:s3cr@h", "//u:s3cr@h", "u:s3:cr@x@h"]
)
def test_a_url_without_a_scheme_is_shown_without_its_password(url: str) -> None:
    assert "s3" not in redact(url)
    assert redact(url).endswith("h:6379" if url.endswith("6379") else "h")
