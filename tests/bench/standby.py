"""Standby requests: what passing on costs beside a second request to the same view, and a stream of 1 GB."""

from __future__ import annotations

import http.client
import pathlib
import shutil
import statistics
import tempfile
import time

from tests.integration.standby.pair import Pair
from tests.integration.standby.processes import forget_peak, peak_mib, running
from tests.integration.standby.site_app import PIECE

from .figures import BenchError, Figure, Options, Section

BLOCKS, REQUESTS = 8, 25  # a run: the two ways take turns in blocks, so that what else the machine does hits both
PAGE = "a page of 100 rows"
VIEWS = {PAGE: "/page", "a view that does nothing": "/bare"}
WAYS = ("asked directly", "passed on")
RATIO_MAX = 2.0
STREAM_BYTES = 2**30
STREAM_RUNS_MAX = 3
GROWTH_MIB_MAX = 40.0  # waitress itself holds up to 16 MiB of an answer (outbuf_high_watermark)
LIMIT_S = 120.0


def measure(options: Options) -> Section:
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ft-bench-"))
    medians: dict[tuple[str, str], list[float]] = {(view, way): [] for view in VIEWS for way in WAYS}
    growth_mib: list[float] = []
    rates: list[float] = []
    with running("waitress", directory) as (pair, _active, standby):
        for run in range(options.runs + 1):  # the first round warms up and does not count
            for view, target in VIEWS.items():
                times_ms = _round(pair, target)
                for way in WAYS:
                    if run:
                        medians[view, way].append(statistics.median(times_ms[way]))
            if run:
                options.say("   ".join(f"{view}, {way} {medians[view, way][-1]:.2f} ms" for view, way in medians))
        _stream(pair.two, STREAM_BYTES // 16)
        for _ in range(min(options.runs, STREAM_RUNS_MAX)):
            pair.one_is_active()
            before_mib, start_s = forget_peak(standby), time.perf_counter()
            _stream(pair.two, STREAM_BYTES)
            rates.append(STREAM_BYTES / 1e6 / (time.perf_counter() - start_s))
            growth_mib.append(peak_mib(standby) - before_mib)
            options.say(f"1 GiB at {rates[-1]:.0f} MB/s, {growth_mib[-1]:.1f} MiB more at its peak")
    shutil.rmtree(directory)
    figures: list[Figure] = []
    for view in VIEWS:
        figures += [Figure(name=f"{view}, {way}: median", unit="ms", values=tuple(medians[view, way])) for way in WAYS]
        ratios = tuple(p / d for d, p in zip(*(medians[view, way] for way in WAYS), strict=True))
        bound = RATIO_MAX if view == PAGE else None  # a view that does nothing costs less than any second server can
        figures.append(Figure(name=f"{view}: passed on ÷ directly", unit="", values=ratios, bound=bound))
    figures.append(
        Figure(
            name="1 GiB: memory of the standby portal",
            unit="MiB more",
            values=tuple(growth_mib),
            bound=GROWTH_MIB_MAX,
            digits=1,
        )
    )
    figures.append(Figure(name="1 GiB: rate", unit="MB/s", values=tuple(rates), digits=0))
    return Section(
        title="Standby requests",
        how=(
            f"Two portals under waitress, each a process with its Redis database and settings. One client with one kept "
            f"connection to each asks a view marked `active_only` {BLOCKS * REQUESTS} times a run and way, in turns of "
            f"{REQUESTS}: at the active server, and at the standby one, which passes it on. Bound: passing on costs at most "
            "what a second request to the same view would cost, so the ratio is at most 2.",
            "1 GiB: a stream through the standby portal; how far its resident memory rose (VmHWM) above what it was before.",
        ),
        figures=tuple(figures),
    )


def _round(pair: Pair, target: str) -> dict[str, list[float]]:
    times_ms: dict[str, list[float]] = {way: [] for way in WAYS}
    links = {way: http.client.HTTPConnection(host, timeout=LIMIT_S) for way, host in zip(WAYS, (pair.one, pair.two))}
    pair.one_is_active()
    for block in range(BLOCKS):
        for way in WAYS[:: 1 if block % 2 else -1]:
            for _ in range(REQUESTS):
                start_s = time.perf_counter()
                links[way].request("GET", target)
                answer = links[way].getresponse()
                answer.read()
                times_ms[way].append(1000 * (time.perf_counter() - start_s))
                if answer.status != 200:
                    raise BenchError(f"{target}, {way}: status {answer.status}")
    for link in links.values():
        link.close()
    return times_ms


def _stream(address: str, size: int) -> None:
    link = http.client.HTTPConnection(address, timeout=LIMIT_S)
    link.request("GET", f"/stream/{size // len(PIECE)}")
    answer, count = link.getresponse(), 0
    while piece := answer.read(1 << 20):
        count += len(piece)
    link.close()
    if count != size:
        raise BenchError(f"{count} of {size} bytes arrived")
