"""deploy/prometheus and deploy/grafana: right by promtool, and about metrics that exist."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ftplugin.core.terms import Role

from .conftest import Site
from .metrics_site import ALLOWED, Scrape, scrape, scraped, ticked, watched
from .status_site import view_of

__all__ = ["watched"]
ROOT = pathlib.Path(__file__).parents[3]
RULES, DASHBOARD = ROOT / "deploy/prometheus/alerts.yml", ROOT / "deploy/grafana/ftplugin.json"
TESTS = RULES.with_name("alerts_test.yml")
DOCS = ROOT / "docs/metrics.md"
NAME = re.compile(r"\bft_[a-z_]+")
SUFFIXES = ("_bucket", "_count", "_sum")
LIMIT_S = 100


def promtool(*arguments: str, text: str | None = None) -> str:
    """What it says, standard error included. Raises AssertionError when it is not content."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: install Debian's package prometheus")
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def told(watched: Site) -> Scrape:
    """A scrape of a server of which everything is known, licence aside."""
    return fullest_scrape(watched)


def fullest_scrape(site: Site) -> Scrape:
    ticked(site, settings_revision=2)
    portal, clock = site.portal, site.portal.clock
    view_of(site, Role.STANDBY)
    moments = [clock.now_s() - 5.0 * i for i in range(8, 0, -1)]
    check = {"name": "axl", "state": "ok", "detail": "", "checked_s": clock.now_s(), "duration_s": 0.1}
    health = {"ok": True, "checked_s": clock.now_s(), "boot_id": clock.boot_id, "failed": []}
    thing = {"behind": 2, "ahead": 0, "error": ""}
    documents: dict[str, dict[str, Any]] = {
        "health": {**health, "checks": [{**check, "timeout_s": 3.0, "shared": False}]},
        "probers-1": {"boot_id": clock.boot_id, "rows": [["10.0.0.9", "monitor?mod=NONE", moments, ""]]},
        "content": {"boot_id": clock.boot_id, "at_s": clock.now_s(), "things": {"phones": thing}},
        "conflicts": {"open": 1},
    }
    assert portal.runtime.publish_many(documents)
    assert portal.journal.begin(switch_id="1", kind="promote", rule="F1", reason="r", epoch=6, actor="")
    assert portal.journal.end("1", "done", Role.ACTIVE, "")
    portal.runtime.count_refused("unsigned")
    site.configure(vip_address="10.0.0.100")
    return scrape(site)


def named_in(text: str) -> set[str]:
    """Families that an expression names."""
    return {name.removesuffix(next((s for s in SUFFIXES if name.endswith(s)), "")) for name in NAME.findall(text)}


def families(told: Scrape) -> set[str]:
    """As documents name them: counters with ``_total``."""
    return {sample.removesuffix(next((s for s in SUFFIXES if sample.endswith(s)), "")) for sample in told.names} | {
        "ft_licence_ok",
        "ft_licence_days_left",
    }


def expressions(dashboard: Mapping[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (annotation["expr"] for annotation in dashboard["annotations"]["list"])


def test_promtool_finds_nothing_wrong_with_what_the_page_says(watched: Site) -> None:
    fullest_scrape(watched)
    text = scraped(watched, ALLOWED).text
    assert promtool("check", "metrics", text=text) == ""


def test_the_rules_are_right_and_each_alert_comes_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("check", "config", str(RULES.with_name("scrape.yml")))
    assert "SUCCESS" in promtool("test", "rules", str(TESTS))


def test_each_alert_has_a_test_in_which_it_comes() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    coming = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", TESTS.read_text()))
    assert alerts and coming == alerts


def test_rules_and_dashboard_name_only_metrics_that_there_are(told: Scrape) -> None:
    known = families(told)
    rules = "\n".join(line for line in RULES.read_text().splitlines() if not line.lstrip().startswith("#"))
    assert named_in(rules) <= known
    dashboard = json.loads(DASHBOARD.read_text())
    of_dashboard = {name for expression in expressions(dashboard) for name in named_in(expression)}
    assert len(of_dashboard) > 25 and of_dashboard <= known


def test_the_document_lists_every_metric_and_no_other(told: Scrape) -> None:
    listed = re.findall(r"^\| `(ft_[a-z_]+)`", DOCS.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(families(told))


def test_the_dashboards_expressions_are_right_and_its_panels_do_not_overlap(tmp_path: pathlib.Path) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    found = [e.replace("$pair", ".*").replace("$__rate_interval", "1m") for e in expressions(dashboard)]
    rules = [{"record": f"panel:{index}", "expr": expression} for index, expression in enumerate(found)]
    path = tmp_path / "panels.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))
