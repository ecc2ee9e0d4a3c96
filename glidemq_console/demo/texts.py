"""The words of the demo: made-up customers, their questions, and what the models answer."""

from __future__ import annotations

from typing import Final, NamedTuple


class Topic(NamedTuple):
    """A question with its answer, and what the model thinks before it."""

    question: str
    answer: str
    thoughts: str = ""


class Task(NamedTuple):
    """What an agent is to do: tools as (tool, arguments, result), a dangerous one as (tool, arguments, why)."""

    goal: str
    plan: str
    tools: tuple[tuple[str, str, str], ...]
    danger: tuple[str, str, str] | None
    end: str


CUSTOMERS: Final = (
    "Northwind Traders",
    "Contoso Robotics",
    "Müller & Söhne KG",
    "株式会社さくら物流",
    "Fabrikam Health",
    "Café Métropole",
    "Łódź Textiles",
    "Tailspin Toys",
    "深圳云帆科技",
    "Wide World Importers",
)

TOPICS: Final = (
    Topic(
        "Explain message queues to a new colleague in two paragraphs.",
        "A message queue is a place where one part of a system leaves work for another part to pick up later. The "
        "producer does not wait: it writes the job down and goes on. A worker takes the job when it has room, and if "
        "the worker dies, the job is still there for the next one.\n\n"
        "What you gain is time and calm. A burst of a thousand requests becomes a line of a thousand jobs instead of a "
        "thousand open connections. What you pay is that the answer comes later, so somebody has to watch how long "
        "the line is, who is serving it, and what has been standing in it since yesterday.",
        "They ask for two paragraphs for someone new. Start from the everyday picture, then name the trade-off.",
    ),
    Topic(
        "Our invoice INV-20931 was charged twice. What happens now?",
        "I am sorry about that. I have found both charges of 3 March: the second one, 184.90 EUR, was made eleven "
        "seconds after the first by a retry of our payment provider.\n\n"
        "• The second charge has been marked for refund.\n"
        "• Your bank shows it within 3 to 5 working days.\n"
        "• Invoice INV-20931 stays paid; nothing else is due.\n\n"
        "Is there anything else I can do for you? 🙂",
        "Two charges, same invoice, eleven seconds apart: a retry without an idempotency key. Refund the second.",
    ),
    Topic(
        "Write a Python function that retries a call with exponential backoff.",
        "Here is a small one that adds jitter, so that many callers do not come back at the same instant:\n\n"
        "```python\n"
        "def retry(call, attempts=5, base=0.2):\n"
        "    for attempt in range(attempts):\n"
        "        try:\n"
        "            return call()\n"
        "        except ConnectionError:\n"
        "            if attempt == attempts - 1:\n"
        "                raise\n"
        "            time.sleep(base * 2**attempt * random.uniform(0.5, 1.5))\n"
        "```\n\n"
        "Retry only what is safe to repeat, and let the last error through: whoever called you wants to know.",
        "Keep it short. Jitter matters more than the exponent. Say which errors must not be retried.",
    ),
    Topic(
        "返品の送料は誰が負担しますか？",
        "お問い合わせありがとうございます。商品に不具合があった場合は、返品の送料は当社が負担いたします。\n\n"
        "お客様のご都合による返品の場合は、恐れ入りますが送料のご負担をお願いしております。"
        "返品は到着後14日以内に、未使用の状態でお送りください。ご不明な点がございましたら、お気軽にお知らせください。🌸",
        "The customer writes Japanese: answer in polite Japanese. Faulty goods: we pay. Otherwise: they do.",
    ),
    Topic(
        "请把这段产品说明改写得更简洁。",
        "改写如下：\n\n「云帆备份每晚自动保存您的数据，三分钟即可恢复。无需安装，无需值守。」\n\n"
        "原文一百二十字，现在三十二字。我保留了三个要点：自动、快速、省心；删去了重复的形容词。",
    ),
    Topic(
        "Summarise yesterday's incident for the status page.",
        "**Delayed answers on 14 March, 09:12 to 09:47 UTC**\n\n"
        "From 09:12 UTC about 8 % of requests waited longer than usual because one model provider limited our rate. "
        "At 09:21 traffic moved to a second provider; at 09:47 the backlog was gone. No request was lost and no data "
        "was affected.\n\n"
        "We are lowering the threshold at which traffic moves, so that the next time takes seconds instead of minutes.",
        "Status page tone: plain, past tense, numbers with units, no blame. Say what was not affected.",
    ),
    Topic(
        "Which plan fits a team of 12 with 40k requests a day?",
        "For 12 people and 40,000 requests a day the **Team** plan fits: it includes 50,000 requests and 15 seats.\n\n"
        "| plan | seats | requests a day | price |\n"
        "|------|------:|---------------:|------:|\n"
        "| Solo | 1 | 2,000 | $19 |\n"
        "| Team | 15 | 50,000 | $240 |\n"
        "| Scale | 80 | 500,000 | $1,900 |\n\n"
        "If you expect to double within the year, start with Team and switch in the middle of a month: "
        "we charge the difference by the day.",
        "40k of 50k is 80 %: it fits, but mention growth. A table is clearest.",
    ),
    Topic(
        "Translate to German: 'The parcel could not be delivered, we will try again tomorrow.'",
        "„Das Paket konnte nicht zugestellt werden. Wir versuchen es morgen erneut.“",
    ),
    Topic(
        "Why does my job show as stalled although it finished?",
        "A job counts as stalled when its worker has not been heard from for longer than its lock. Three things make a "
        "finished job look like that:\n\n"
        "1. The worker's event loop was blocked, often by a long synchronous call, so no heartbeat was sent.\n"
        "2. The machine was suspended or its clock jumped.\n"
        "3. The lock is shorter than one step of the job.\n\n"
        "Look at the heartbeat age on the workers screen while it runs. If it climbs, move the blocking part to a "
        "thread or ask for a longer lock.",
        "Stalled means: heartbeat overdue. List causes by likelihood, then say where to look.",
    ),
    Topic(
        "Draft a friendly reminder for an unpaid invoice, 2 sentences.",
        "Hello, just a small reminder that invoice 4411 over €96.00 was due last Friday and may have slipped through. "
        "If it is already on its way, please ignore this message, and thank you! 💶",
    ),
    Topic(
        "How many vector dimensions should we store for 2 million short texts?",
        "For short texts 512 dimensions are a good start. Two million of them as 32-bit floats take 4.1 GB; with 1,536 "
        "dimensions it would be 12.3 GB, for a gain in recall that you will hardly measure on texts under a hundred "
        "words.\n\nStore 512, keep the source text, and measure recall at 10 on two hundred real questions before "
        "you pay for more.",
        "2e6 x 512 x 4 bytes = 4.096e9. 2e6 x 1536 x 4 = 1.2288e10. Recommend measuring.",
    ),
)

#: What moderation is asked to publish: (title, draft, why a person should look).
DRAFTS: Final = (
    (
        "Refund letter, case 8841",
        "Dear Ms Okafor,\n\nthank you for your patience. We have checked your case again and will refund the full "
        "amount of 1,240.00 EUR to the card you paid with. Please allow five working days.\n\nKind regards\nContoso "
        "Robotics, Customer Care",
        "refund over 1,000 EUR",
    ),
    (
        "Product page: insulin cooler",
        "Keeps insulin between 2 and 8 °C for up to 36 hours. Independent tests show a deviation of less than half a "
        "degree at an outside temperature of 38 °C.",
        "medical claim",
    ),
    (
        "Reply to a 1-star review",
        "We are sorry that your order arrived late. That is not the service we want to be known for. 😔 A voucher "
        "over 20 EUR is in your inbox, and our warehouse has changed the carrier for your region.",
        "public reply in our name",
    ),
    (
        "Newsletter, spring edition",
        "Spring is here 🌷 and so are three new colours. Until Sunday you get 15 % on everything in the shop with the "
        "code BLOOM. Unsubscribe with one click, any time.",
        "goes to 48,210 people",
    ),
    (
        "お詫びのお知らせ",
        "平素よりご利用いただき、誠にありがとうございます。三月十四日、一部のお客様への配送に遅れが生じました。"
        "ご迷惑をおかけしましたことを、心よりお詫び申し上げます。再発防止に努めてまいります。",
        "public apology",
    ),
    (
        "Answer to a data request",
        "We hold the following data about you: name, postal address, two orders from 2025, and the newsletter "
        "consent of 9 January. An export is attached. You may ask us to delete it at any time.",
        "personal data leaves the house",
    ),
)

#: What agents do.
TASKS: Final = (
    Task(
        "Free 20 GB on build-07",
        "Look at what takes the space, then remove caches that can be made again.",
        (
            ("list_directory", '{"path":"/var/cache/builds"}', "214 entries, 31.4 GB"),
            ("disk_usage", '{"path":"/var/cache/builds/old"}', "22.8 GB, last used 41 days ago"),
        ),
        ("delete_file", '{"path":"/var/cache/builds/old","recursive":true}', "deletes 22.8 GB on build-07"),
        "Removed the caches nobody used for a month. build-07 has 23.1 GB free again.",
    ),
    Task(
        "Find out why nightly-report is late",
        "Check the schedule, the last three runs, and the database load at that hour.",
        (
            ("get_runs", '{"job":"nightly-report","last":3}', "04:12, 04:47, 05:31"),
            ("query_metrics", '{"metric":"db.locks","hour":3}', "p95 18 s, usual 0.4 s"),
            ("search_logs", '{"text":"VACUUM FULL","since":"24h"}', "3 hits, all 03:00"),
        ),
        None,
        "A VACUUM FULL was added at 03:00 on Tuesday and holds the table that the report reads. Moving it to 05:00 "
        "brings the report back to 04:10.",
    ),
    Task(
        "Rotate the staging certificate",
        "The certificate ends in 3 days. Request a new one, install it, reload the proxy.",
        (
            ("read_certificate", '{"host":"staging.example.com"}', "ends in 71 h"),
            ("request_certificate", '{"host":"staging.example.com"}', "issued"),
        ),
        (
            "run_shell",
            '{"command":"systemctl reload nginx","host":"staging-1"}',
            "runs a shell command on staging-1",
        ),
        "The new certificate is in place until 12 June; nginx was reloaded without a dropped connection.",
    ),
    Task(
        "Book a table for six on Friday",
        "Ask three places nearby, prefer the one with a vegan menu.",
        (
            ("search_places", '{"near":"office","vegan":true}', "Café Métropole, Grün & Gut, 和み"),
            ("check_table", '{"place":"和み","people":6,"at":"Fri 19:30"}', "free"),
        ),
        ("send_money", '{"to":"和み","amount":"60.00 EUR","for":"deposit"}', "pays 60.00 EUR"),
        "和み, Friday 19:30, six people, terrace. The deposit is paid. 🍜",
    ),
    Task(
        "Triage the new bug reports",
        "Read what came since yesterday, group what belongs together, set priorities.",
        (
            ("list_issues", '{"since":"1d"}', "17 open"),
            ("compare_texts", '{"issues":[4410,4413,4419]}', "same stack trace"),
            ("set_label", '{"issue":4410,"label":"p1"}', "ok"),
        ),
        None,
        "17 reports, 9 distinct: one is p1 (#4410, with two duplicates closed), three p2, the rest p3.",
    ),
    Task(
        "Clean up test users in the CRM",
        "List accounts with the domain test.invalid and check that none has an order.",
        (("query_crm", '{"filter":"email like %@test.invalid"}', "1,312 accounts, 0 orders"),),
        (
            "run_sql",
            '{"sql":"DELETE FROM accounts WHERE email LIKE \'%@test.invalid\'"}',
            "deletes 1,312 rows",
        ),
        "1,312 test accounts are gone; a dump of them lies in the archive for 30 days.",
    ),
)

#: What the retrieval pipeline reads and is asked.
DOCUMENTS: Final = (
    "handbook/returns.md",
    "handbook/payments.md",
    "runbooks/failover.md",
    "contracts/2025-acme.pdf",
    "release-notes/4.2.md",
    "faq/shipping-eu.html",
    "policies/data-retention.md",
    "手册/保修条款.md",
)

LOOKUPS: Final = (
    (
        "How long do we keep order data after an account is deleted?",
        "Order data is kept for ten years because tax law asks for it [1]; everything else about the person goes "
        "within 30 days of the deletion [2]. Backups are overwritten after 35 days, so that is the longest time in "
        "which a deleted profile can still exist anywhere [2].",
    ),
    (
        "What are the steps of a manual failover?",
        "1. Stop writes with `pause` and wait until the replica's offset matches [1].\n2. Promote the replica [1].\n"
        "3. Point the alias `db-main` to it; clients reconnect within 10 s [2].\n4. Resume, and rebuild the old "
        "primary as a replica before you go to bed [1].",
    ),
    (
        "Who pays duties on parcels to Switzerland?",
        "The receiver pays duties and VAT on delivery, unless the order was placed with 'all included' [1]. In that "
        "case we pay, and the carrier charges us at the end of the month [2].",
    ),
    (
        "保修期内的屏幕损坏由谁负责？",
        "保修期内，非人为的屏幕故障由我们免费维修[1]。摔落或进水造成的损坏不在保修范围内，"
        "但可以按成本价更换，通常为三至五个工作日[2]。",
    ),
)

#: What research is about: the subject of a report, and its chapters.
RESEARCH: Final = (
    ("Cold chains for vaccines", ("Sensors", "Carriers", "Rules in the EU")),
    ("The market for used robots", ("Prices", "Buyers", "Repairs")),
    ("Rail freight through the Alps", ("Tunnels", "Timetables", "Fees")),
    ("紙の再生と新しい繊維", ("原料", "工場", "価格")),
    ("Heat pumps in old houses", ("Noise", "Insulation", "Grants")),
    ("Returns in online fashion", ("Sizes", "Costs", "What helps")),
)

#: A chapter as a model writes it, and the end of a report.
CHAPTER: Final = (
    "Three of the sources agree: demand has grown every year since 2021, and nobody expects that to end soon. "
    "Prices do not follow; they have been flat for six quarters, because two new suppliers came in from outside. "
    "The fourth source doubts the figures for last autumn, with good reasons: they count renewals as new contracts. "
    "Without them the growth is 4 % instead of 9 %, which is still more than in any of the neighbouring markets."
)
CONCLUSION: Final = (
    "Growth is real but smaller than it looks, prices will stay where they are, and whoever comes first keeps the "
    "customers for years. We suggest a pilot with two partners before summer, and a second look in autumn."
)
