"""A vendor for tests: its key, and licences it signs with the real tool."""

from __future__ import annotations

import datetime
import pathlib

from click.testing import CliRunner, Result

from ftplugin.licence.vendor import group

TODAY = datetime.date.today()


def day(offset: int) -> str:
    """The day ``offset`` days from now, as the tool takes it."""
    return str(TODAY + datetime.timedelta(days=offset))


class Vendor:
    """Keeps its private key in ``folder``; ``key`` is what FT_LICENCE_KEY gets."""

    def __init__(self, folder: pathlib.Path, name: str = "vendor") -> None:
        self.folder, self.file = folder, folder / f"{name}.key"
        made = self.run("keygen", "--key", str(self.file))
        self.key = made.stdout.strip().removeprefix("FT_LICENCE_KEY=")

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(group, list(arguments))

    def sign(self, node: str, *, expires: int = 365, starts: int = -1, holder: str = "Théâtre & Fils") -> bytes:
        out = self.folder / "signed.xml"
        dates = ("--starts", day(starts), "--expires", day(expires))
        result = self.run(
            "sign", "--key", str(self.file), "--holder", holder, "--node", node, *dates, "--out", str(out)
        )
        assert result.exit_code == 0, result.output
        return out.read_bytes()
