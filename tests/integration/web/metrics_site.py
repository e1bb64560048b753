"""A portal whose metrics may be read, and what it answers as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ftplugin.core.terms import Role
from ftplugin.metrics.tally import BOUNDS_S

from .conftest import MakeSite, Site
from .status_site import SERVICES, decided, view_of

ALLOWED = "10.9.8.7"
Sample = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """One answer. ``scrape("ft_role", role="active")``: the value, None when it is absent."""

    def __init__(self, text: str) -> None:
        self.text = text
        families = list(text_string_to_metric_families(text))
        self.families = {family.name for family in families}
        self.samples: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value for f in families for sample in f.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def now(self, name: str, label: str, /, **others: str) -> list[str]:
        """The words of a state that are 1."""
        found = []
        for (sample, labels), value in self.samples.items():
            facts = dict(labels)
            if sample == name and value == 1 and others.items() <= facts.items():
                found.append(facts[label])
        return found


def scraped(site: Site, remote: str = ALLOWED, **headers: str) -> Any:
    return site.client.get("/ft/metrics", environ_overrides={"REMOTE_ADDR": remote}, headers=headers)


def scrape(site: Site) -> Scrape:
    answer = scraped(site)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)


def ticked(site: Site, *, role: Role = Role.ACTIVE, bad_streak: int = 0, age_s: float = 0.0, **view: Any) -> None:
    """What a tick leaves, with everything that a scrape reads of it. view: of the other server's signed state."""
    portal, boot_id = site.portal, site.portal.clock.boot_id
    site.role(role, epoch=6)
    site.agent(age_s=age_s, peer_heard_s=portal.clock.now_s() - 3.0, frozen=False, version="1.0.0")
    view_of(site, **view)
    decided(site)
    memory = {"boot_id": boot_id, "memory": {"bad_streak": bad_streak}}
    services: dict[str, Mapping[str, Any]] = {**SERVICES}
    services["asterisk"] = {**services["asterisk"], "given_up": True, "restarts": 3}
    counted = {
        "ticks": 40,
        "probes": {"ok": 38, "timeout": 2},
        "bounds_s": BOUNDS_S,
        "buckets": [0, 30, 8, *[0] * (len(BOUNDS_S) - 2)],
        "latency_sum_s": 0.4,
        "seconds": {"signed": 12.5, "silence": 3.0, "two": 1.5, "one": 900.0},
    }
    assert portal.runtime.publish_many({"memory": memory, "services": services, "metrics": counted})


@pytest.fixture
def watched(make_site: MakeSite) -> Site:
    site = make_site(FT_METRICS_ALLOW=[ALLOWED, "2001:db8::/32"])
    site.configure()
    return site
