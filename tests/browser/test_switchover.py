"""An administrator moves the role with mouse or keyboard, and moves it back."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.integration.cluster.harness import SLACK_S, Nodes

from .conftest import Visit
from .test_failover import ACTIVE, STANDBY, mark, not_reloaded, server, shows

TO_ACTIVE = re.compile(re.escape("-> Active (Primary)"))
TABS_MAX = 60


def test_switchover_by_mouse_with_its_steps_live_and_failback_the_same_way(pair: Nodes, visit: Visit) -> None:
    page = visit(1).open()
    for target, other in ((2, 1), (1, 2)):
        shows(page, target, STANDBY, 2 * SLACK_S)
        server(page, target).get_by_role("link", name=TO_ACTIVE).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(f"#{target}")
        page.get_by_label("Reason").fill(f"maintenance of server #{other}")
        page.get_by_role("button", name="Switch now").click()
        ordered(page, target)
        mark(page)
        done = page.get_by_text(
            re.compile(f"Done: server{target} is active")
        ).last  # the first is for screen readers alone
        expect(done).to_be_visible(timeout=(pair.failover_bound_s() + SLACK_S) * 1000)
        assert not_reloaded(page), "the steps come by themselves"
        expect(page.get_by_role("row", name=re.compile(r"ok.*\d\.\d\d s")).first).to_be_visible()
        assert pair.cluster.active() == [f"server{target}"]
        pair.wait_healthy_whatever_held(target)
        page = visit(target).open()
        shows(page, target, ACTIVE, 2 * SLACK_S)
        shows(page, other, STANDBY, SLACK_S)
        expect(page.get_by_text(f"maintenance of server #{other}").first).to_be_visible()
    assert pair.active_on(1)


def ordered(page: Page, target: int) -> None:
    """The order was taken, and the page of its steps is open."""
    expect(page.get_by_role("status").filter(has_text=f"Switchover to server{target} is ordered")).to_be_visible()


def press_until(page: Page, role: str, name: str) -> None:
    """Tab on until that element has the focus: as somebody without a mouse gets there."""
    wanted = page.get_by_role(role, name=name).first  # type: ignore[arg-type]
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        if wanted.count() and wanted.evaluate("element => element === document.activeElement"):
            outline = wanted.evaluate("element => getComputedStyle(element).outlineStyle")
            assert outline != "none", f"the focus on {name} cannot be seen"
            return
    raise AssertionError(f"{role} {name!r} not reached with {TABS_MAX} tabs")


def test_switchover_by_keyboard_alone(pair: Nodes, visit: Visit) -> None:
    page = visit(2).open()
    shows(page, 2, STANDBY, SLACK_S)
    press_until(page, "link", "-> Active (Primary)")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("#2")
    press_until(page, "textbox", "Reason")
    page.keyboard.type("by keyboard")
    press_until(page, "button", "Switch now")
    page.keyboard.press("Enter")
    ordered(page, 2)
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    assert pair.status(2)["last_switch"]["reason"] == "by keyboard"


def test_focus_survives_a_refresh_of_the_page(pair: Nodes, visit: Visit) -> None:
    page = visit(1).open()
    shows(page, 2, STANDBY, SLACK_S)
    mark(page)
    link = server(page, 2).get_by_role("link", name=TO_ACTIVE)
    link.focus()
    with page.expect_response(re.compile(r"/admin/status")):
        pass
    page.wait_for_timeout(200)
    assert link.evaluate("element => element === document.activeElement") and not_reloaded(page)


def test_switchover_without_a_token_is_refused_in_words_and_nothing_moves(pair: Nodes, visit: Visit) -> None:
    page = visit(1).open("/switch?target=server2")
    page.get_by_label("Reason").fill("no token")
    page.evaluate("document.querySelectorAll('input[name=csrf_token]').forEach(field => field.remove())")
    page.get_by_role("button", name="Switch now").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was done")
    page.wait_for_timeout(1000)
    assert pair.active_on(1), pair.story()
