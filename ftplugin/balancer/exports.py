"""The list of exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftplugin.core.settings import Settings

from . import f5, haproxy, keepalived, nginx, nlb
from .plan import File, Options, Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """One kind of balancer. ``title``: a proper name, the same in each language. ``make`` raises SettingsError."""

    name: str
    title: str
    make: Callable[[Plan], tuple[File, ...]]


EXPORTS = {
    export.name: export
    for export in (
        Export(name="haproxy", title="HAProxy", make=haproxy.make),
        Export(name="keepalived", title="keepalived (VRRP)", make=keepalived.vrrp),
        Export(name="keepalived-lvs", title="keepalived (LVS)", make=keepalived.lvs),
        Export(name="nginx", title="NGINX", make=nginx.open_source),
        Export(name="nginx-plus", title="NGINX Plus", make=nginx.plus),
        Export(name="f5", title="F5 BIG-IP (tmsh)", make=f5.make),
        Export(name="nlb", title="Windows NLB (PowerShell)", make=nlb.make),
    )
}


def make(name: str, settings: Settings, revision: int, options: Options = Options()) -> tuple[File, ...]:
    """The files of the balancer ``name``, a key of EXPORTS. Raises SettingsError naming the field that does not fit."""
    return EXPORTS[name].make(Plan.of(settings, revision, options))
