"""A licence is uploaded: refused files say why, a good one opens the settings."""

from __future__ import annotations

import pathlib

from playwright.sync_api import expect

from tests.integration.cluster.harness import Nodes

from .conftest import Visit
from .licences import Vendor, licence_needed


def test_licence_is_missing_then_refused_with_the_cause_then_installed(
    pair: Nodes, visit: Visit, tmp_path: pathlib.Path
) -> None:
    vendor, stranger = Vendor(tmp_path / "vendor"), Vendor(tmp_path / "stranger")
    addresses = {n: pair.cluster.config.address(f"node{n}") for n in (1, 2)}
    good = vendor.licence(addresses[2])
    changed = tmp_path / "changed.xml"
    changed.write_text(good.read_text().replace("Example Ltd", "Somebody else"))
    with licence_needed(pair, 2, vendor.public):
        page = visit(2).open("/licence")
        expect(page.get_by_text("No licence is installed on this server").first).to_be_visible()
        for file, cause in (
            (stranger.licence(addresses[2]), "signed with another vendor's key"),
            (vendor.licence(addresses[1]), f"for server {addresses[1]}; this one is {addresses[2]}"),
            (changed, "changed after it was signed"),
            (pathlib.Path(__file__), "not XML"),
        ):
            page.get_by_label("Licence file").set_input_files(file)
            page.get_by_role("button", name="Install").click()
            expect(page.get_by_role("alert")).to_contain_text(cause)
            expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
        page.get_by_label("Licence file").set_input_files(good)
        page.get_by_role("button", name="Install").click()
        expect(page.get_by_role("status").filter(has_text="The licence of Example Ltd is installed")).to_be_visible()
        expect(page.get_by_text("2099-12-31").first).to_be_visible()
        assert pair.active_on(1), "a licence has no say in who is active"
