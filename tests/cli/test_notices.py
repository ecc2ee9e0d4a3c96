"""`approvals --on-new` and `--webhook`: each suspension is told once, whatever the receiver does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, serving
from kits.hostile import CORPUS

from glidemq_console.cli.errors import UsageProblem
from glidemq_console.cli.notices.delivery import Deliveries, Notice
from glidemq_console.cli.notices.program import Program
from glidemq_console.cli.notices.webhook import Webhook
from glidemq_core import Actor, Queue, Worker
from glidemq_core.server.connection import Connection

from .harness import Ran, fill, spawn, within, work

Run = Callable[..., Ran]
NOTICE = Notice("q:1", "q:1:5", b'{"approval":{}}')


# A command ------------------------------------------------------------------------------------------------------


def script(folder: Path, text: str) -> str:
    """Write a program; returns its path."""
    path = folder / "told"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_a_command_gets_the_review_on_its_input(tmp_path: Path) -> None:
    told = script(tmp_path, "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())")
    place = tmp_path / "two words"
    assert await Program(f"{told} '{place}'").deliver(NOTICE) is None
    assert place.read_bytes() == NOTICE.body + b"\n"


async def test_nothing_of_a_job_reaches_a_shell(tmp_path: Path) -> None:
    words = script(
        tmp_path, f"import json, sys; json.dump(sys.argv[1:], open({str(tmp_path / 'words')!r}, 'w'))"
    )
    line = f"{words} $HOME '$(touch {tmp_path}/broken)' ; echo {{}}"
    assert await Program(line).deliver(Notice("$(reboot):1", "`x`", b'{"a":"; rm -rf $HOME"}')) is None
    assert json.loads((tmp_path / "words").read_text()) == [
        "$HOME",
        f"$(touch {tmp_path}/broken)",
        ";",
        "echo",
        "{}",
    ]
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("print('one'); print('no room'); raise SystemExit(3)", "ended with exit code 3: no room"),
        ("raise SystemExit(1)", "ended with exit code 1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9"),
        ("print('x' * 10_000_000); raise SystemExit(1)", "ended with exit code 1: xxx"),
    ],
)
async def test_a_command_that_fails_is_told(tmp_path: Path, text: str, said: str) -> None:
    problem = await Program(script(tmp_path, text)).deliver(NOTICE)
    assert problem is not None
    assert said in problem
    assert len(problem) < 5_000


async def test_a_command_need_not_read(tmp_path: Path) -> None:
    large = Notice("q:1", "q:1:5", b"x" * 5_000_000)
    assert await Program(script(tmp_path, "import os; os.close(0)")).deliver(large) is None


async def test_a_command_that_hangs_ends_with_what_it_started(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    told = script(
        tmp_path,
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(lives)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)",
    )
    problem = await Program(told, patience_s=3).deliver(NOTICE)
    assert problem is not None
    assert "did not end within 3 s and was stopped" in problem
    pid = int(lives.read_text())
    await eventually(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [("", "names no command"), ("  ", "names no command"), ("a 'b", "cannot be read as a command")],
)
def test_a_line_that_is_no_command_is_refused(line: str, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        Program(line)


async def test_a_command_that_is_not_there_is_told() -> None:
    problem = await Program("/nowhere/at/all").deliver(NOTICE)
    assert problem == "cannot run '/nowhere/at/all': No such file or directory"


# A webhook ------------------------------------------------------------------------------------------------------


class Receiver:
    """Answers posts as it is told to, and keeps what it got."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers = answers
        self.posts: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        self.posts.append((head[0], headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.sleep(60)
        writer.write(answer or b"")
        writer.close()


@asynccontextmanager
async def receiving(*answers: bytes | None) -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver(list(answers))
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield receiver, f"http://127.0.0.1:{port}"
    finally:
        server.close()


def status(code: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {code} Because", *headers, "", ""]).encode()


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


async def test_a_review_is_posted_as_json_and_signed() -> None:
    async with receiving(status(100) + status(204)) as (receiver, url):
        assert await Webhook(f"{url}/a%20b/ü?x=1&y=[2]", "s3cret").deliver(NOTICE) is None
    [(first, headers, body)] = receiver.posts
    assert first == "POST /a%20b/%C3%BC?x=1&y=%5B2%5D HTTP/1.1"
    assert body == NOTICE.body
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Glidemq-Event"] == "approval"
    stamp = headers["X-Glidemq-Timestamp"]
    expected = hmac.new(b"s3cret", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Glidemq-Signature"] == f"sha256={expected}"
    assert abs(time.time() - int(stamp)) < 60


async def test_without_a_secret_nothing_is_signed() -> None:
    async with receiving(status(200)) as (receiver, url):
        assert await Webhook(url).deliver(NOTICE) is None
    [(first, headers, _)] = receiver.posts
    assert first == "POST / HTTP/1.1"
    assert not [name for name in headers if "Signature" in name or "Timestamp" in name]


async def test_failures_that_may_pass_are_tried_again_as_the_same_delivery() -> None:
    sleeps = Sleeps()
    answers = [status(503), b"", status(429, "Retry-After: 9"), b"no http\r\n\r\n", status(201)]
    async with receiving(*answers) as (receiver, url):
        assert await Webhook(url, sleep=sleeps).deliver(NOTICE) is None
    assert sleeps == [1, 2, 9, 8]
    assert len({headers["X-Glidemq-Delivery"] for _, headers, _ in receiver.posts}) == 1


@pytest.mark.parametrize(
    ("answer", "said", "attempts"),
    [
        (status(500), "answers 500 after 3 attempts", 3),
        (status(404), "answers 404", 1),
        (
            status(302, "Location: http://169.254.169.254/"),
            "answers with a redirect (302), which is not followed",
            1,
        ),
        (status(307, "Location: /elsewhere"), "answers with a redirect (307), which is not followed", 1),
        (None, "no answer within 0.2 s after 3 attempts", 3),
        (b"\r\n" * 20_000, "does not answer in HTTP after 3 attempts", 3),
        (status(429, "Retry-After: 99999"), "answers 429 after 3 attempts", 3),
    ],
)
async def test_what_fails_is_given_up_and_told(answer: bytes | None, said: str, attempts: int) -> None:
    sleeps = Sleeps()
    async with receiving(answer) as (receiver, url):
        hook = Webhook(f"{url}/token-s3cret", pauses=(0.1, 0.2), patience_s=0.2, sleep=sleeps)
        problem = await hook.deliver(NOTICE)
    assert problem == f"webhook {url.removeprefix('http://')}: {said}"
    assert len(receiver.posts) == attempts
    assert all(pause <= 60 for pause in sleeps)


async def test_a_port_where_nobody_listens_is_told() -> None:
    problem = await Webhook("http://127.0.0.1:1/", pauses=(), patience_s=5).deliver(NOTICE)
    assert problem is not None
    assert problem.startswith("webhook 127.0.0.1:1: cannot be reached: ")


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate, key)
    receiver = Receiver([status(200)])
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0, ssl=served)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/x"

    stranger = await Webhook(url, pauses=(1,)).deliver(NOTICE)
    known = await Webhook(url, pauses=(), tls=ssl.create_default_context(cafile=str(certificate))).deliver(
        NOTICE
    )
    server.close()

    assert stranger is not None
    assert ": no TLS: " in stranger
    assert known is None
    assert len(receiver.posts) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/hook", "needs https"),
        ("http://10.0.0.1/hook", "needs https"),
        ("http://127.0.0.1.example.com/", "needs https"),
        ("ftp://example.com", "is no URL"),
        ("example.com/hook", "is no URL"),
        ("https://", "is no URL"),
        ("https://example.com:99999/", "is no URL"),
        ("https://exa mple.com/", "is no URL"),
        ("https://example.com/\r\nHost: other", "is no URL"),
        ("https://user:pw@example.com/", "takes no user and password"),
        ("", "is no URL"),
    ],
)
def test_urls_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(UsageProblem, match=said) as caught:
        Webhook(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://example.com/x", "http://localhost:8080", "http://[::1]/x", "http://127.1.2.3"]
)
def test_urls_that_are_taken(url: str) -> None:
    Webhook(url)


async def test_a_channel_that_hangs_holds_up_no_other() -> None:
    class Hanging:
        async def deliver(self, notice: Notice) -> str | None:
            await asyncio.sleep(600)
            return None

    class Quick:
        def __init__(self) -> None:
            self.got: list[str] = []

        async def deliver(self, notice: Notice) -> str | None:
            self.got.append(notice.job)
            return "but it failed"

    quick, failures = Quick(), list[str]()
    deliveries = Deliveries(
        [Hanging(), quick], lambda notice, problem: failures.append(f"{notice.job} {problem}")
    )
    for number in range(20):

        async def make(number: int = number) -> Notice | None:
            return Notice(f"q:{number}", "", b"") if number % 2 else None

        deliveries.begin(make)
    await eventually(lambda: len(failures) == 10)
    assert quick.got == [f"q:{number}" for number in range(1, 20, 2)]
    await deliveries.close()


# The command that watches ---------------------------------------------------------------------------------------


@contextmanager
def watching(*words: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    child = spawn("approvals", "--watch", "0.1", *words, **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def wait_for(check: Callable[[], Any], timeout_s: float = 40) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.05)
    return found


def collector(folder: Path) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """A command that keeps each review in a file of its own, and what reads them in the order of the suspensions."""
    place = folder / "reviews"
    place.mkdir()
    program = (
        "import os, sys; body = sys.stdin.buffer.read(); path = os.path.join(sys.argv[1], str(os.getpid()))\n"
    )
    program += "open(path + '~', 'wb').write(body); os.rename(path + '~', path + '.json')"

    def read() -> list[dict[str, Any]]:
        found = [json.loads(path.read_text())["approval"] for path in place.glob("*.json")]
        return sorted(found, key=lambda one: (one["suspended_ms"], one["id"]))

    return f"{script(folder, program)} {place}", read


async def _reject(connection: Connection) -> None:
    """Decide on `chat:suspended`, and let it be suspended anew."""
    queue = Queue[Any, Any]("chat", connection)

    async def again(job: Any) -> None:
        if job.id == "suspended":
            await job.suspend(reason="second look")

    async with Worker("chat", again, connection):
        await queue.reject("suspended", actor=Actor("tester"), reason="once more")

        async def anew() -> bool:
            job = await queue.get_job("suspended")
            info = await queue.get_suspend_info("suspended")
            return job is not None and info is not None and info.reason == "second look"

        await eventually(anew)


def test_each_suspension_is_told_once(server: str, tmp_path: Path) -> None:
    command, told = collector(tmp_path)
    within(server, fill)
    with watching("--on-new", command) as child:
        wait_for(lambda: len(told()) == 1)
        secret = {"name": "ask", "data": {"api_key": "sk-0123456789abcdefghij"}}
        within(server, lambda connection: work(connection, "other", second=secret))
        wait_for(lambda: len(told()) == 2)
        within(server, _reject)
        wait_for(lambda: len(told()) == 3)
        time.sleep(0.5)
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=20)

    assert (child.returncode, out, err) == (0, b"", b"")
    first, second, third = told()
    assert (first["queue"], first["id"], first["draft"]) == ("chat", "suspended", "a draft")
    assert first["data"] == {"text": "send it?"}
    assert len(first["review_hash"]) == 64
    assert (second["id"], second["masked"]) == ("second", 1)
    assert "sk-0123456789" not in json.dumps(second)
    assert (third["id"], third["reason"]) == ("suspended", "second look")


def test_failures_are_told_and_the_watch_goes_on(server: str, tmp_path: Path) -> None:
    def ask(*ids: str) -> None:
        within(server, lambda connection: work(connection, "q", **{one: {"name": "ask"} for one in ids}))

    failing = script(tmp_path, "import sys; print('\\x1b[31mbroken'); sys.exit(2)")
    ask("1")
    with watching("q", "--on-new", failing) as child:
        assert child.stderr is not None
        first = child.stderr.readline().decode()
        ask("2")
        second = child.stderr.readline().decode()
    assert first.startswith("q:1 was not told: '")
    assert "ended with exit code 2: " in first
    assert "\x1b" not in first
    assert second.startswith("q:2 was not told: ")


def test_a_webhook_gets_what_a_command_gets(run: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIDEMQ_WEBHOOK_SECRET", "s3cret")
    within(server, fill)

    async def receive() -> list[tuple[str, dict[str, str], bytes]]:
        async with receiving(status(200)) as (receiver, url):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "glidemq_console", "approvals", "--watch", "0.1", "--webhook", url, "--json",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert child.stdout is not None
            listed = json.loads(await child.stdout.readline())
            await eventually(lambda: receiver.posts, timeout=30)
            child.terminate()
            while await child.stdout.read(65_536):
                pass
            assert await child.wait() == 0
            assert [one["id"] for one in listed["approvals"]] == ["suspended"]
            return receiver.posts

    [(_, headers, body)] = asyncio.run(receive())
    assert "X-Glidemq-Signature" in headers
    assert json.loads(body) == run("review", "chat:suspended", "--json").object


def test_an_outage_is_waited_for(tmp_path: Path, environment: None) -> None:
    command, told = collector(tmp_path)
    (tmp_path / "data").mkdir()
    with serving(tmp_path / "data", "--appendonly", "yes") as port:
        url = f"valkey://127.0.0.1:{port}"
        within(url, fill)
        with watching("--on-new", command, "--url", url) as child:
            wait_for(lambda: len(told()) == 1)
            assert child.stderr is not None
            within(url, _pause)
            assert child.stderr.readline().startswith(b"cannot read what waits: ")
            assert child.stderr.readline() == b"what waits can be read again\n"
            within(url, lambda connection: work(connection, "q", **{"1": {"name": "ask"}}))
            wait_for(lambda: len(told()) == 2)


async def _pause(connection: Connection) -> None:
    await connection.command("CLIENT", "PAUSE", "7000", "ALL")


def test_hostile_reviews_arrive_whole(server: str, tmp_path: Path) -> None:
    command, told = collector(tmp_path)
    texts = [text for text in CORPUS if text.encode("utf-8", "replace").decode() == text]
    jobs = {str(number): {"name": "ask", "data": {"text": text}} for number, text in enumerate(texts, 1)}
    within(server, lambda connection: work(connection, "q", **jobs))
    with watching("--on-new", command, "--reveal") as child:
        wait_for(lambda: len(told()) == len(texts), timeout_s=60)
        assert child.poll() is None
    assert {one["id"]: one["data"]["text"] for one in told()} == {
        str(number): text for number, text in enumerate(texts, 1)
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--on-new x", "need --watch DUR"),
        ("--webhook https://example.com", "need --watch DUR"),
        ("--watch 2s --webhook http://example.com", "needs https"),
        ("--watch 2s --on-new '", "cannot be read as a command"),
    ],
)
def test_words_that_make_no_sense(run: Run, server: str, words: str, said: str) -> None:
    ran = run("approvals", *words.split())
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
