"""XXE, billion laughs and their relatives in a licence: nothing is opened, fetched or blown up, by page or command line."""

from __future__ import annotations

import codecs
import io
import pathlib
import re
import socket
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from ftplugin.licence.document import LicenceRefused, read

from ..web.conftest import MakeSite
from ..web.licences import Vendor

CANARY = "canary-of-a-file"


@pytest.fixture
def trap() -> Iterator[tuple[int, list[int]]]:
    """A port, and how many have connected."""
    met: list[int] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        ended = threading.Event()

        def watch() -> None:
            while not ended.is_set():
                try:
                    listener.accept()[0].close()
                    met.append(1)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=watch)
        thread.start()
        yield listener.getsockname()[1], met
        ended.set()
        thread.join(5)


def attacks(file: pathlib.Path, port: int) -> dict[str, bytes]:
    url, body = f"http://127.0.0.1:{port}/x", "<IPSFT_lic version='1'><licence>&x;</licence></IPSFT_lic>"
    entity = f'<!DOCTYPE IPSFT_lic [<!ENTITY x SYSTEM "file://{file}">]>{body}'
    laughs = "".join(f'<!ENTITY {a} "{f"&{b};" * 10}">' for a, b in zip("bcdefghij", "abcdefghi"))
    found = {
        "a file": entity,
        "a file, in another encoding": "",
        "an address": f'<!DOCTYPE IPSFT_lic [<!ENTITY x SYSTEM "{url}">]>{body}',
        "a DTD at an address": f'<!DOCTYPE IPSFT_lic SYSTEM "{url}"><IPSFT_lic version="1"/>',
        "a public DTD": f'<!DOCTYPE IPSFT_lic PUBLIC "-//x" "{url}"><IPSFT_lic version="1"/>',
        "a parameter entity": f'<!DOCTYPE IPSFT_lic [<!ENTITY % x SYSTEM "{url}"> %x;]><IPSFT_lic version="1"/>',
        "an attribute's default": '<!DOCTYPE IPSFT_lic [<!ATTLIST IPSFT_lic version CDATA "1">]><IPSFT_lic/>',
        "an empty DTD": f"<!DOCTYPE IPSFT_lic []>{body.replace('&x;', '')}",
        "inclusion": f'<IPSFT_lic version="1" xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{url}"/></IPSFT_lic>',
        "a style sheet": f'<?xml-stylesheet href="{url}"?><IPSFT_lic version="1"/>',
        "laughs": f'<!DOCTYPE l [<!ENTITY a "{"lol" * 10}">{laughs}]>{body.replace("&x;", "&j;")}',
        "one long entity many times": f'<!DOCTYPE l [<!ENTITY x "{"x" * 20_000}">]>{body.replace("&x;", "&x;" * 8_000)}',
        "a deep tower": "<IPSFT_lic version='1'>" + "<a>" * 15_000,
        "very many attributes": "<IPSFT_lic " + " ".join(f"a{n}='x'" for n in range(6_000)) + "/>",
        "another name space": '<x:IPSFT_lic version="1" xmlns:x="urn:x"/>',
    }
    raw = {name: text.encode() for name, text in found.items()}
    raw["a file, in another encoding"] = codecs.BOM_UTF16_LE + entity.encode("utf-16-le")
    raw["a file, in UTF-7"] = b'<?xml version="1.0" encoding="UTF-7"?>' + entity.encode("utf-7")
    return raw


def test_no_licence_opens_a_file_or_an_address_or_grows(
    make_site: MakeSite, tmp_path: pathlib.Path, trap: tuple[int, list[int]]
) -> None:
    port, met = trap
    file = tmp_path / "secret"
    file.write_text(CANARY)
    vendor = Vendor(tmp_path)
    site = make_site(FT_LICENCE_KEY=vendor.key)
    client = site.app.test_client()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/ft/admin/licence").text)
    assert token is not None
    for name, raw in attacks(file, port).items():
        data = {"csrf_token": token[1], "file": (io.BytesIO(raw), "IPSFT_lic.xml")}
        answer = client.post("/ft/admin/licence", data=data, content_type="multipart/form-data")
        assert answer.status_code in (400, 413), name
        assert "Nothing was changed" in answer.text and CANARY not in answer.text, name
        if b"<!DOCTYPE" in raw and b"UTF-7" not in raw:
            assert "DTD, entities" in answer.text, f"{name} is refused for what it is, before it is understood"
        bad = tmp_path / "bad.xml"
        bad.write_bytes(raw)
        done = site.app.test_cli_runner().invoke(args=["ft", "licence", "install", str(bad)])
        assert done.exit_code == 1 and CANARY not in done.output and "Traceback" not in done.output, name
    assert not site.portal.licence.path.exists() and met == [], "nobody was asked"
    assert CANARY not in site.log()


def test_no_licence_costs_memory_beyond_its_own_size(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    for name, raw in attacks(tmp_path / "secret", 1).items():
        tracemalloc.start()
        with pytest.raises(LicenceRefused):
            read(raw)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000, (name, peak)
