"""Examples of every command, as its help, the man page and the reference show them; tests run them."""

from __future__ import annotations

from typing import Final

#: Lines for a shell by command, the plainest first; those of the program itself have no name.
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "": (
        "glidemq demo  # everything, on a server and a workload of its own",
        "export GLIDEMQ_URL=valkey://localhost  # then, on your server:",
        "glidemq queues",
        "glidemq console",
    ),
    "console": (
        "glidemq console",
        "glidemq console inference --screen approvals  # one queue, and first who waits for a person",
    ),
    "snapshot": (
        "glidemq snapshot",
        "glidemq snapshot jobs -q inference --size 100x30  # for a chat or an issue",
    ),
    "demo": (
        "glidemq demo",
        "glidemq demo --headless --for 10s  # without screens, as a check",
    ),
    "tail": (
        "glidemq tail inference:42",
        "glidemq tail inference:42 --from now --show content,reasoning",
        "glidemq tail inference:42 --no-follow > answer.txt  # what is there, its content alone",
    ),
    "queues": (
        "glidemq queues",
        "glidemq queues --sort oldest  # where jobs have waited longest",
        "glidemq queues --watch 5s",
    ),
    "jobs": (
        "glidemq jobs inference",
        "glidemq jobs inference --state failed --newest --limit 20",
        "glidemq jobs inference --where user=42 --json  # whose payload says so",
        "glidemq jobs inference --where 'state:failed error:timeout age<1d' --scan 20000",
    ),
    "job": (
        "glidemq job inference:42",
        "glidemq job 42 -q inference --logs 100",
    ),
    "approvals": (
        "glidemq approvals",
        "glidemq approvals inference --watch 2s",
        "glidemq approvals --watch 2s --on-new ./tell.sh  # once a suspension, its review is JSON on stdin",
    ),
    "review": ("glidemq review inference:7",),
    "approve": (
        "glidemq approve inference:7 --expect-hash HASH  # which `glidemq review inference:7` shows",
        "glidemq approve inference:7 --unseen --comment 'agreed by phone'  # the audit says unseen",
    ),
    "reject": ("glidemq reject inference:7 --reason 'the tone is wrong'",),
    "signal": (
        "glidemq signal inference:7 payment-received --data '{\"amount\": 30}'",
        "glidemq signal inference:42 go --early  # kept for a job that is not suspended yet",
    ),
    "schedulers": ("glidemq schedulers inference",),
    "scheduler": (
        "glidemq scheduler set inference nightly --cron '0 3 * * *' --tz Europe/Berlin --job digest",
        "glidemq scheduler set inference poll --every 5m --job poll",
        "glidemq scheduler run inference nightly  # now, beside its own times",
        "glidemq scheduler remove inference poll --yes",
    ),
    "pause": ("glidemq pause inference --comment 'provider is down'",),
    "resume": ("glidemq resume inference",),
    "clean": ("glidemq clean inference --state completed --older-than 7d --yes",),
    "drain": ("glidemq drain inference --delayed --yes",),
    "retry": (
        "glidemq retry inference:42",
        "glidemq retry inference --all-failed --count 100",
    ),
    "promote": ("glidemq promote inference:9",),
    "remove": ("glidemq remove inference:9 --yes",),
    "failures": (
        "glidemq failures",
        "glidemq failures inference --since 24h",
        "glidemq failures --where 'model:gpt* !error:timeout' --scan 20000",
    ),
    "dlq": (
        "glidemq dlq inference",
        "glidemq dlq list inference --where 'error:timeout age<1d tries>=3'",
        "glidemq dlq show letters:1",
        'glidemq dlq replay letters:1 --data \'{"prompt": "shorter"}\'',
        "glidemq dlq discard letters:2 --yes",
    ),
    "why": (
        "glidemq why inference:9  # a job",
        "glidemq why inference  # a queue",
    ),
    "flow": ("glidemq flow inference:42",),
    "flows": (
        "glidemq flows",
        "glidemq flows --where 'state:blocked,failed cost>0.1'",
    ),
    "budget": (
        "glidemq budget report:1",
        "glidemq budget report:1 --add-tokens 50k --preview  # what a top-up would release",
        "glidemq budget report:1 --add-tokens 50k --yes",
    ),
    "limits": (
        "glidemq limits",
        "glidemq limits inference --rpm 60/1m --concurrency 10",
        "glidemq limits inference --no-rpm",
    ),
    "add": (
        'glidemq add inference answer --data \'{"prompt": "Why is the sky blue?"}\'',
        "glidemq add inference answer --data @prompt.json --attempts 3 --backoff exponential:1s:0.2",
        "glidemq add inference digest --schedule-in 5m --dedup nightly,ttl=1h",
        "glidemq add inference answer --ordering user:42,concurrency=2 --job-timeout 2m",
        "glidemq add inference --bulk jobs.jsonl",
        "glidemq add inference answer --data '\"Hello\"' --wait  # prints the result",
    ),
    "worker": (
        "glidemq worker app:worker",
        "glidemq worker app:worker mail.jobs:make_workers --processes 4 --health 8080",
        "glidemq worker app:worker --reload --log-level debug  # while you write it",
        "glidemq worker app:worker --check  # before a rollout",
    ),
    "workers": ("glidemq workers inference",),
    "usage": (
        "glidemq usage",
        "glidemq usage inference --since 24h --json",
        "glidemq usage --by model --top 10  # where the money went",
    ),
    "metrics": (
        "glidemq metrics",
        "glidemq metrics inference --listen 9464  # for a Prometheus on this machine",
    ),
    "audit": (
        "glidemq audit inference --limit 20",
        "glidemq audit inference --verify",
        "glidemq audit export inference > audit.jsonl",
    ),
    "events": (
        "glidemq events inference --type failed --type suspended",
        "glidemq events inference --from 10m --no-follow --json",
    ),
    "server": (
        "glidemq server start",
        "glidemq server url  # how others reach it",
        "glidemq server stop",
    ),
    "doctor": (
        "glidemq doctor",
        "glidemq doctor inference --repair",
    ),
    "config": (
        "glidemq config show",
        "glidemq config set profiles.prod.url valkeys://queue.example.com",
        "glidemq -P prod config show",
    ),
    "completion": (
        "glidemq completion --install",
        'eval "$(glidemq completion bash)"  # for this shell only',
    ),
}
