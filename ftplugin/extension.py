"""``FaultTolerance(app)``: mounts monitor, node API, admin pages and command line into a Flask portal."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, abort, current_app, redirect, url_for
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from . import __version__, standing
from .balancer.probers import Probers
from .clock import SystemClock
from .config import ConfigError, NodeConfig
from .core.records import RoleRecord
from .core.settings import Settings, SettingsError, designation_of, parse_address
from .core.terms import Designation
from .health.checks import TIMEOUT_S_DEFAULT
from .health.portal import HealthHook, HealthHooks, PortalHealth
from .licence.keep import LicenceStore
from .prechecks import Hook, Hooks
from .replicate.engine import Replicator
from .replicate.registry import Registry
from .report import Report
from .signals import Announcer
from .state import RoleReader
from .store.database import Database, DatabaseUnreachable
from .store.instance import claim
from .store.journal import SqlJournal
from .store.keys import Keys
from .store.runtime import RuntimeStore, connect
from .store.settings_store import SettingsStore
from .web.producer import Producer

if TYPE_CHECKING:
    from .standby.door import Door
    from .standby.limits import Limits

NAME = "ftplugin"
SOURCE = "portal"
REFUSAL_LOG_S = 10.0
DATABASE_START_LIMIT_S = 3.0
FORWARDS_MAX = 3  # waitress has four threads unless told otherwise
Authorize = Callable[[str], Any]
Layout = str | Callable[[str, str, str], str]


class Portal:
    """Everything one mounted portal works with; ``current_app.extensions["ftplugin"]``."""

    def __init__(
        self,
        config: NodeConfig,
        authorize: Authorize | None = None,
        layout: Layout = "",
        actor: Callable[[], str] | None = None,
    ) -> None:
        self.config, self.authorize, self.layout, self.actor = config, authorize, layout, actor
        self.version = __version__
        self.clock = SystemClock()
        self.keys = Keys(config.prefix)
        self.report = Report.of(config, SOURCE)
        self.runtime = RuntimeStore(connect(config.redis_url), self.keys)
        self.role = RoleReader(self.runtime, self.clock)
        self.database = Database(config.database_url)
        self.licence = LicenceStore(config.instance_dir, config.licence_key, config.own_address, self.report)
        self.settings = SettingsStore(
            self.database,
            config.own_address,
            config.stop_needed_s,
            slowest_check_s=lambda: max(config.slowest_check_s, self.health.hooks.slowest_s if self.health else 0.0),
            refusal=self.licence.problem,
        )
        self.journal = SqlJournal(self.database)
        self.probers = Probers(self.runtime.publish, self.clock.boot_id)
        self.prechecks = Hooks()
        self.door: Door | None = None  # None: not mounted; else the layer that passes standby requests on
        self.health: PortalHealth | None = None  # None: not mounted, so the portal's own checks are not known here
        self.replicator: Replicator | None = None  # None: not mounted, so what the portal registers is not known here
        self._announcer = Announcer(self.runtime.client, self.keys)
        self._noticed: RoleRecord | None = None
        self.app: Flask | None = None  # None: not mounted
        self._refusals: dict[str, float] = {}
        self._refusals_lock = threading.Lock()
        self.report.about = self._about

    def _about(self) -> dict[str, Any]:
        """For structured lines: which server this is, and the epoch as this process last read it."""
        record = self.role.record
        return {"server": self.designation(), "epoch": record.epoch if record is not None else None}

    def close(self) -> None:
        """Let go of Redis and the database, for a process that goes on without this portal (tests, reloaders)."""
        if self.health is not None:
            self.health.close()
        if self.door is not None:
            self.door.close()
        if self.replicator is not None:
            self.replicator.close()
        self.probers.close()
        self._announcer.close()
        self.database.close()
        self.runtime.client.close()

    @cached_property
    def producer(self) -> Producer:
        """Sends orders to the switch worker."""
        return Producer(self.config.redis_url, self.keys.queue("switch"))

    def pause(self, owner: str, reason: str, minutes: int | None) -> bool:
        """Nothing promotes by itself here any more, for ``minutes`` or until resumed (spec 5.6).

        False: the database did not take it, and nothing is paused. Raises standing.OrderError.
        """
        return self._order(standing.PAUSE, owner, reason, minutes)

    def drain(self, owner: str, reason: str) -> bool:
        """This server is not eligible until the drain is ended. False, OrderError: as for ``pause``."""
        return self._order(standing.DRAIN, owner, reason, None)

    def end(self, name: str) -> bool:
        """End the "pause" or "drain" of this server. False: the database did not take it, and it goes on."""
        if not self.journal.set_standing(name, None):
            return False
        self.runtime.forget(name)  # if Redis is silent the agent puts the copy right at its next tick
        return True

    def _order(self, name: str, owner: str, reason: str, minutes: int | None) -> bool:
        clock = self.clock
        document = standing.order(
            owner, reason, minutes, now_s=clock.now_s(), boot_id=clock.boot_id, wall_s=clock.wall_s()
        )
        if not self.journal.set_standing(name, document):
            return False
        self.runtime.publish(name, document)  # if Redis is silent the agent writes the copy at its next tick
        return True

    def designation(self, settings: Settings | None = None) -> Designation | None:
        """Which server this node is; None while the addresses are not set."""
        try:
            return designation_of(self.config.own_address, settings or self.settings.cached()[1])
        except SettingsError:
            return None

    def notice(self, record: RoleRecord | None, switch: Mapping[str, Any] | None = None) -> None:
        """What a request of the current app has read anyway, for the signals (``ftplugin.signals``)."""
        if record is self._noticed and switch is None:
            return
        assert self.app is not None
        self._announcer.see_role(self.app, self, record)
        self._announcer.see_switch(self.app, self, switch)
        self._noticed = record

    def refuse(self, cause: str, text: str) -> None:
        """Count a refused message, and log it at most once in 10 s for each cause."""
        self.runtime.count_refused(cause)
        now_s = time.monotonic()
        with self._refusals_lock:
            if now_s - self._refusals.get(cause, float("-inf")) < REFUSAL_LOG_S:
                return
            self._refusals[cause] = now_s
        self.report.line(SOURCE, f"refused message ({cause}): {text}")

    def external_url(self, path: str = "/") -> str:
        """URL of this portal for phones and users: the VIP's with 'Use VIP address to build URLs', else the node's.

        Raises SettingsError when neither the VIP nor FT_OWN_ADDRESS is set.
        """
        _, settings = self.settings.cached()
        if settings.vip_urls and settings.vip_address:
            base = parse_address("vip_address", settings.vip_address).url
        else:
            base = parse_address("FT_OWN_ADDRESS", self.config.own_address).url
        return base + "/" + path.lstrip("/")


class FaultTolerance:
    """The Flask extension. It keeps no app: one object may be mounted into several.

    authorize: called with "view", "operate" or "configure"; True lets the user in, a response is sent instead of the
    page, anything else is 403 (for a visitor whom Flask-Login does not know: its log-in page). Without it everybody whom
    Flask-Login knows is let in; with neither, the admin pages let nobody in.
    blueprint: a blueprint of the portal, not yet registered, into which the admin pages are nested: they get its URL
    prefix, its checks and its headers. Monitor and node API stay at FT_URL_PREFIX, where balancers and the peer ask.
    layout: a template of the portal with the blocks ``title``, ``head`` and ``content``, or a function that gets these
    three as markup and returns the whole page; the pages are shown inside it. Empty: they stand alone.
    actor: the name under which what the user does is recorded; without it Flask-Login's ``get_id()``, which many portals
    make a number.
    forwards_max: how many requests each process passes on to the active server at a time (``active_only``); fewer than the
    threads of the WSGI server, so that the monitor answers while the active one hangs.
    """

    def __init__(
        self,
        app: Flask | None = None,
        authorize: Authorize | None = None,
        *,
        blueprint: Blueprint | None = None,
        layout: Layout = "",
        actor: Callable[[], str] | None = None,
        forwards_max: int = FORWARDS_MAX,
    ) -> None:
        if isinstance(forwards_max, bool) or not isinstance(forwards_max, int) or forwards_max < 1:
            raise ValueError(f"FaultTolerance: forwards_max={forwards_max!r}: must be a whole number, 1 or more")
        self._authorize, self._blueprint, self._layout, self._actor = authorize, blueprint, layout, actor
        self._forwards_max = forwards_max
        self._prechecks = Hooks()
        self._health_hooks = HealthHooks()
        self._registry = Registry()
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        authorize: Authorize | None = None,
        *,
        blueprint: Blueprint | None = None,
        layout: Layout = "",
        actor: Callable[[], str] | None = None,
    ) -> None:
        """Mount into ``app``; what is given here comes before what the constructor got.

        Raises ConfigError for a wrong FT_* key, RuntimeError when mounted already or when ``blueprint`` is registered.
        """
        if NAME in app.extensions:
            raise RuntimeError(
                "FaultTolerance is already mounted in this app: call init_app once; for a second instance use a second "
                "app with its own FT_PREFIX"
            )
        from .cli import group
        from .standby.door import Door
        from .standby.marks import look
        from .web.at_once import AtOnce

        rights, name = authorize or self._authorize, actor or self._actor
        portal = Portal(NodeConfig.of(app.config, unpaired=True), rights, layout or self._layout, name)
        portal.app, portal.prechecks = app, self._prechecks
        portal.health = PortalHealth(app, portal, self._health_hooks)
        portal.replicator = Replicator(app, portal, self._registry)
        app.extensions[NAME] = portal
        threads = (portal.health.ensure, portal.replicator.ensure)
        portal.door = Door(app, portal, self._forwards_max, threads, AtOnce(app, portal))
        app.wsgi_app = portal.door  # type: ignore[method-assign]
        app.url_value_preprocessor(look(app.view_functions))
        _add_urls(app, portal.config, blueprint or self._blueprint)
        app.cli.add_command(group)
        assert portal.producer.queue  # made now: the first fence must not wait for the import of its parts
        try:
            portal.database.prepare(DATABASE_START_LIMIT_S)
            refusal = claim(portal.database, portal.config.prefix)
        except (DatabaseUnreachable, SQLAlchemyError) as error:
            app.logger.error("ftplugin: %s; the portal starts all the same and tries again", error)
            portal.report.line(SOURCE, f"{error}; trying again")
            refusal = ""
        if refusal:
            raise ConfigError(refusal)
        portal.licence.watch()

    def precheck(self, name: str) -> Callable[[Hook], Hook]:
        """Decorator: add a check of the portal's own to those shown before a switchover (``ftplugin.prechecks``).

        The function gets the target ("server2") and the status document; it returns None, the text of a warning, or
        Blocked(text). Raises ValueError when the name is empty or taken.
        """

        def add(hook: Hook) -> Hook:
            self._prechecks.add(name, hook)
            return hook

        return add

    def health_check(
        self, name: str, timeout: float = TIMEOUT_S_DEFAULT, *, shared: bool = False
    ) -> Callable[[HealthHook], HealthHook]:
        """Decorator: add a health check of the portal's own (``ftplugin.health.portal``); ``mod=IPSWS`` names it if it fails.

        It runs in the background, never in a request. It returns None, "" or True when well, a text or False when failed,
        or ``ftplugin.Degraded(text)``; what it raises is failed too. timeout: its limit in seconds, 0.1 to 60; past it, it
        counts as failed. shared: both servers have what it looks at, so that its failure is no reason to switch.
        Raises ValueError when the name is wrong or taken, or the limit out of bounds.
        """

        def add(hook: HealthHook) -> HealthHook:
            self._health_hooks.add(name, hook, timeout_s=timeout, shared=shared)
            return hook

        return add

    def replicate(
        self,
        model: Any,
        *,
        engine: Engine | Callable[[], Engine] | None = None,
        exclude: Sequence[str] = (),
        name: str = "",
        imported: bool = False,
    ) -> Any:
        """Keep the rows of a declarative class, or of a Table, equal on both servers (docs/replication.md); returns it.

        engine: of the portal's database, or a function that gives it; None: Flask-SQLAlchemy's. exclude: names of columns that
        stay local. name: by which both servers know it; empty: that of the table. imported: each server fills it by its own
        import schedule (guide 3.3): not replicated, and the page says so. Raises TypeError, ValueError.
        """
        self._registry.add_model(model, engine, exclude, name, imported)
        return model

    def replicate_folder(
        self, path: str | os.PathLike[str], *, exclude: Sequence[str] = (), name: str = "", imported: bool = False
    ) -> None:
        """Keep the files below ``path`` equal on both servers (docs/replication.md).

        exclude: patterns of names or paths that stay local, as ``*.tmp``. name: by which both servers know it; empty: the
        folder's own. imported: as for ``replicate``. Raises TypeError, ValueError.
        """
        self._registry.add_folder(path, exclude, name, imported)

    def active_only(self, target: Any = None, *, by: str = "proxy", limits: Limits | None = None) -> Any:
        """Decorator: a view, or a blueprint that is not registered yet, runs on the active server alone (spec 8).

        On a standby server a request is passed on to the active one and its answer comes back (``by="proxy"``), or the
        client is sent there: ``"redirect"`` by 307, ``"phone"`` by XML for Cisco's phones. No active server known: 503.
        limits: what passing on may cost (``ftplugin.standby.Limits``). See docs/standby-requests.md.
        Raises ValueError for another ``by``, TypeError when ``target`` is neither a function nor a blueprint.
        """
        from .standby.limits import Limits
        from .standby.marks import active_only

        return active_only(target, by=by, limits=limits or Limits())

    @property
    def portal(self) -> Portal:
        """The current app's Portal."""
        return portal()

    def external_url(self, path: str = "/") -> str:
        """As Portal.external_url, for the current app."""
        return portal().external_url(path)


def _add_urls(app: Flask, config: NodeConfig, outer: Blueprint | None) -> None:
    from .web.admin import make_blueprint as admin
    from .web.monitor import make_blueprint as monitor, mount_legacy
    from .web.node_api import make_blueprint as node_api

    prefix = "/" + config.url_prefix.strip("/") if config.url_prefix.strip("/") else ""
    for blueprint in (monitor(), node_api(), *_metrics(config)):
        app.register_blueprint(blueprint, url_prefix=prefix + (blueprint.url_prefix or ""))
    if prefix:
        app.add_url_rule(prefix + "/", "ft_home", _home)
    if config.legacy_urls:
        mount_legacy(app)
    pages = admin()
    target: Flask | Blueprint = app if outer is None else outer
    try:
        target.register_blueprint(pages, url_prefix=prefix + (pages.url_prefix or ""))
    except AssertionError:
        raise RuntimeError(
            f"blueprint {target.name!r} is registered already: mount FaultTolerance first, then call "
            "app.register_blueprint"
        ) from None


def _metrics(config: NodeConfig) -> list[Blueprint]:
    """Only where somebody may read them: a portal without Prometheus loads nothing of it."""
    if not config.metrics_allow:
        return []
    try:
        from .metrics.page import make_blueprint
    except ImportError as error:
        way_out = "install it (pip install 'ftplugin[metrics]'), or leave FT_METRICS_ALLOW empty"
        raise ConfigError(f"FT_METRICS_ALLOW: the page needs prometheus-client: {way_out} ({error})") from None
    return [make_blueprint()]


def _home() -> Any:
    """To the status page, wherever the portal has nested it."""
    endpoint = next((name for name in current_app.view_functions if f".{name}".endswith(".ft_admin.index")), None)
    if endpoint is None:
        current_app.logger.error("ftplugin: the blueprint that holds the admin pages is not registered in the app")
        abort(404)
    return redirect(url_for(endpoint))


def portal() -> Portal:
    """The Portal of the current app."""
    found: Portal = current_app.extensions[NAME]
    return found
