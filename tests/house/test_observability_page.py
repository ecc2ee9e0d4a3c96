"""What docs/observability.md and examples/deploy/prometheus say is what the exporter gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kits.snippets import ROOT

from glidemq_core.watch.metrics import exporter

PAGE = ROOT / "docs" / "observability.md"
PROMETHEUS = ROOT / "examples" / "deploy" / "prometheus"
NAME = re.compile(r"\bglidemq_[a-z_]+\b")
SECONDS = {"s": 1, "m": 60, "h": 3_600}


def exported() -> set[str]:
    """Names of all metrics that the exporter can write."""
    source = Path(exporter.__file__).read_text("utf-8")
    return set(re.findall(r'"(glidemq_[a-z_]+)"', source))


def loaded(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text("utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in loaded("alerts.yml")["groups"] for rule in group["rules"]]


def test_the_page_names_every_metric_and_no_other() -> None:
    table = re.findall(r"^\| (`glidemq_.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    named = [name for row in table for name in NAME.findall(row)]
    assert sorted(named) == sorted(exported())


def test_counters_alone_end_in_total() -> None:
    assert {name for name in exported() if name.endswith("_total")} == {
        name for name, _ in exporter._COUNTED.values()
    }


def test_the_scrape_configuration_fits_the_command() -> None:
    config = loaded("prometheus.yml")
    [scrape] = config["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]
    assert "metrics_path" not in scrape  # /metrics
    interval, limit = config["global"]["scrape_interval"], scrape["scrape_timeout"]
    assert int(limit[:-1]) * SECONDS[limit[-1]] <= int(interval[:-1]) * SECONDS[interval[-1]]
    assert all((PROMETHEUS / name).is_file() for name in config["rule_files"])
    assert f'job="{scrape["job_name"]}"' in rules()[0]["expr"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    expression = rule["expr"]
    assert expression.count("(") == expression.count(")")
    named = set(NAME.findall(expression))
    assert named <= exported()
    assert named or "up{" in expression
    for function, name in re.findall(r"(rate|increase|delta)\((\w+)\[", expression):
        assert (function != "delta") == name.endswith("_total")
    labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert labels <= {"queue", "unit"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))


def test_alert_names_are_told_apart() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
