"""The AXL check against a stand-in over real TLS: what an administrator reads when the call manager is not well."""

from __future__ import annotations

import base64
import signal
import time

import pytest

from ftplugin.health.checks import CheckState
from tests.integration.web.conftest import free_port

from .conftest import PASSWORD, USER, Ask, AxlProcess


def test_a_call_manager_that_tells_its_version_is_well(ask_axl: Ask) -> None:
    found = ask_axl()
    assert (found.state, found.detail) == (CheckState.OK, "") and found.shared
    assert 0 < found.duration_s < 7


def test_the_path_may_be_left_out_or_given(ask_axl: Ask, axl: AxlProcess) -> None:
    assert ask_axl(url=axl.url + "/axl/").state is CheckState.OK
    assert "HTTP 404" in ask_axl(url=axl.url + "/other/").detail


def test_http_503_is_degraded_and_not_failed(ask_axl: Ask, axl: AxlProcess) -> None:
    axl.set(mode="throttle")
    found = ask_axl()
    assert found.state is CheckState.DEGRADED and "503" in found.detail


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"password": "wrong"}, "user or password is wrong (HTTP 401)"),
        ({"user": "nobody"}, "user or password is wrong (HTTP 401)"),
        ({"version": "14.0"}, "does not speak AXL version 14.0 (HTTP 599)"),
        ({"ca_file": ""}, "is not trusted; name it in ca_file"),
        ({"ca_file": "/no/such/file.pem"}, "ca_file: the CA cannot be used: [Errno 2] No such file"),
    ],
)
def test_what_is_configured_wrongly_is_named(ask_axl: Ask, changes: dict[str, str], says: str) -> None:
    found = ask_axl(**changes)
    assert found.state is CheckState.FAILED and says in found.detail


def test_a_user_without_the_role_is_told_so(ask_axl: Ask, axl: AxlProcess) -> None:
    axl.set(forbidden=[USER])
    assert "HTTP 403" in ask_axl().detail and "Standard AXL API Access" in ask_axl().detail


def test_an_unverified_certificate_passes_only_when_asked_for(ask_axl: Ask) -> None:
    assert ask_axl(ca_file="", verify=False).state is CheckState.OK


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("garbage", "not with XML that can be read"),
        ("other", "XML that is no SOAP answer"),
        ("huge", "answer is larger than 262144 bytes"),
        ("redirect", "a redirect to 'https://127.0.0.1:1/elsewhere/', which is not followed"),
    ],
)
def test_a_wrong_answer_is_failed_with_its_reason(ask_axl: Ask, axl: AxlProcess, mode: str, says: str) -> None:
    axl.set(mode=mode)
    found = ask_axl()
    assert found.state is CheckState.FAILED and says in found.detail


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_an_answer_that_never_ends_is_failed_at_the_limit(ask_axl: Ask, axl: AxlProcess, mode: str) -> None:
    axl.set(mode=mode)
    began_s = time.monotonic()
    found = ask_axl(timeout_s=1.0)
    assert found.state is CheckState.FAILED and "within" in found.detail
    assert time.monotonic() - began_s < 6.0, "the limit is one second in all, not one for each byte"


def test_a_slow_answer_within_the_limit_is_well(ask_axl: Ask, axl: AxlProcess) -> None:
    axl.set(delay_s=0.5)
    found = ask_axl()
    assert found.state is CheckState.OK and found.duration_s >= 0.5


def test_a_call_manager_that_is_frozen_or_gone_is_failed(ask_axl: Ask, axl: AxlProcess) -> None:
    axl.process.send_signal(signal.SIGSTOP)
    try:
        assert "within" in ask_axl(timeout_s=1.0).detail
    finally:
        axl.process.send_signal(signal.SIGCONT)
    assert ask_axl(url=f"https://127.0.0.1:{free_port()}").detail == "connection refused"


def test_a_password_that_the_server_sends_back_is_not_shown(ask_axl: Ask, axl: AxlProcess) -> None:
    axl.set(mode="echo")
    found = ask_axl()
    assert found.detail.startswith("refuses getCCMVersion") and "***" in found.detail
    assert PASSWORD not in found.detail
    assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in found.detail
