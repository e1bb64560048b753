"""The real node: the agent with its adapters, from the node's configuration.

Everything that is heavy is imported here and nowhere else, so that beat and the tests load what they use.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Sequence

from sqlalchemy.exc import SQLAlchemyError

from ftplugin.clock import SystemClock
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.settings import Settings, SettingsError, designation_of, parse_address
from ftplugin.core.terms import Designation
from ftplugin.core.view import LanReading
from ftplugin.report import Report
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.store.database import Database, DatabaseUnreachable
from ftplugin.store.events import EventStore
from ftplugin.store.instance import claim
from ftplugin.store.journal import SqlJournal
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from ftplugin.store.settings_store import SettingsStore

from . import __version__
from .background import Periodic
from .daily import Daily
from .locks import LockTaken
from .node import NotReady, Parts
from .node_log import NodeLog
from .portal_watch import PortalControl, PortalWatch
from .ports import DispatchPort, LanPort, Ports, ServicePort
from .rivals import client_name, rival
from .settings_feed import SettingsFeed
from .settings_sync import POLL_S as SYNC_POLL_S
from .settings_sync import SettingsSync

if TYPE_CHECKING:
    from .alerting import Alerting


def build_parts(config: NodeConfig, role: str, dispatch: DispatchPort) -> Parts:
    """What a process of ``role`` ("tick", "switch", "beat") needs.

    Raises NotReady while the database cannot be used, ConfigError when FT_SERVICES or FT_PORTAL is wrong or the database
    another instance's, LockTaken when another instance uses the same names in this Redis.
    """
    database = _database(config)
    client = connect(config.redis_url, client_name=client_name(config, role))
    runtime = RuntimeStore(client, Keys(config.prefix))
    events = EventStore(database, config.log_days)
    report = Report.of(config, role)
    log = NodeLog(report, runtime.count_refused, events.record)
    store = SettingsStore(database, config.own_address, config.stop_needed_s)
    feed = SettingsFeed(store)
    common: dict[str, Any] = {"runtime": runtime, "settings": feed.to_keep_up, "log": log}
    common |= {"check_database": database.problem, "stop": feed.stop}
    if role == "beat":
        return Parts(agent=None, runner=None, services=(), start=feed.start, **common)
    ports, lan = _ports(config, dispatch, database, runtime, log, feed)
    common["peer_status"] = ports.peer.status
    common["rival"] = lambda: rival(client, config, role)
    if refusal := common["rival"]():
        raise LockTaken(refusal)
    from .agent import Agent

    def start() -> None:
        feed.start()
        if role == "tick":
            lan.start()
            sync.start()

    def stop() -> None:
        feed.stop()
        sync.stop()
        if (alerting := common.get("alerting")) is not None:
            alerting.stop()

    sync, common["stop"] = _sync(ports, store, database), stop
    agent = Agent(config=config, ports=ports, version=__version__)
    known = agent if role == "tick" else None  # the other worker reads its record when it switches, and not since
    report.about = lambda: {"server": _server(config, feed), "epoch": known.record.epoch or None if known else None}
    if role == "tick":
        portal = _portal(config, ports)
        daily = Daily(ports, portal)
        agent.restarting = lambda: daily.restarts_services
        alerting = _alerting(config, ports, database)
        common |= {
            "daily": daily,
            "alerting": alerting,
            "portal": portal and PortalWatch(portal, config=config, ports=ports),
        }
    return Parts(agent=agent, runner=ports.runner, services=ports.services, start=start, **common)


def _server(config: NodeConfig, feed: SettingsFeed) -> Designation | None:
    """For the log; None while the addresses are not set."""
    try:
        return designation_of(config.own_address, feed.settings())
    except SettingsError:
        return None


def _sync(ports: Ports, store: SettingsStore, database: Database) -> Periodic:
    shared: dict[str, Any] = {"peer": ports.peer, "runtime": ports.runtime, "log": ports.log, "clock": ports.clock}
    turn = SettingsSync(store=store, conflicts=ConflictStore(database), **shared).turn
    return Periodic("settings sync", turn, lambda: SYNC_POLL_S)


def _alerting(config: NodeConfig, ports: Ports, database: Database) -> Alerting | None:
    """None without targets: then nothing of it is loaded."""
    targets = config.alert_targets
    if not targets:
        return None
    from .alerting import Alerting

    return Alerting(config=config, targets=targets, ports=ports, recent=SqlJournal(database).recent)


def _database(config: NodeConfig) -> Database:
    try:
        database = Database(config.database_url)
        database.prepare()
        refusal = claim(database, config.prefix)
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        raise NotReady(f"FT_DATABASE_URL: {str(error).splitlines()[0]}.") from None
    if refusal:
        raise ConfigError(refusal)
    return database


def _services(config: NodeConfig) -> Sequence[ServicePort]:
    from .adapters.services import ServiceError, build

    try:
        return build(config.services, config.instance_dir, config.prefix)
    except ServiceError as error:
        raise ConfigError(str(error)) from None


def _portal(config: NodeConfig, ports: Ports) -> PortalControl | None:
    from .adapters.services import ServiceError, build_portal

    try:
        service = build_portal(config.portal, config.prefix)
    except ServiceError as error:
        raise ConfigError(str(error)) from None
    return None if service is None else PortalControl(service, clock=ports.clock, lan=ports.lan)


class Whereabouts:
    """Addresses of this pair, asked at every call: the settings may change while the process runs."""

    def __init__(self, config: NodeConfig, feed: SettingsFeed) -> None:
        self._config, self._feed = config, feed
        self._own = parse_address("own_address", config.own_address) if config.own_address else None
        self._found: tuple[Settings, Designation] | None = None

    def designation(self) -> Designation:
        """Raises SettingsError while the own address is neither server #1 nor #2."""
        settings, found = self._feed.settings(), self._found
        if found is None or found[0] is not settings:  # asked some 20 times a second
            self._found = found = (settings, designation_of(self._config.own_address, settings))
        return found[1]

    def own_url(self) -> str:
        return self._own.url if self._own else ""

    def own_host(self) -> str:
        return self._own.host if self._own else ""

    def peer_url(self) -> str:
        """ "" while it is not known who the peer is."""
        try:
            peer = self.designation().other
        except SettingsError:
            return ""
        address = self._feed.settings().address_of(peer)
        return parse_address(f"{peer}_address", address).url if address else ""


class LazyLan:
    """LanPort that begins to ask at its first reading: the switch worker needs it only in a switch."""

    def __init__(self, probe: Any) -> None:
        self._probe, self._lock, self._running = probe, threading.Lock(), False

    def start(self) -> None:
        with self._lock:
            if not self._running:
                self._running = True
                self._probe.start()

    def reading(self) -> LanReading:
        self.start()
        reading: LanReading = self._probe.reading()
        return reading

    def portal_seen_s(self) -> float | None:
        self.start()
        seen_s: float | None = self._probe.portal_seen_s()
        return seen_s


def _ports(
    config: NodeConfig,
    dispatch: DispatchPort,
    database: Database,
    runtime: RuntimeStore,
    log: NodeLog,
    feed: SettingsFeed,
) -> tuple[Ports, LazyLan]:
    from .adapters.agent_channel import AgentChannel
    from .adapters.lan_probe import LanProbe
    from .adapters.peer_http import PeerHttp
    from .adapters.redis_votes import RedisVotes
    from .adapters.runner import DaemonPool, SideBySide
    from .adapters.vip_probe import VipProbe
    from .fencing import FenceCommand

    clock, pool, where, keys = SystemClock(), DaemonPool(), Whereabouts(config, feed), Keys(config.prefix)
    shared: dict[str, Any] = {"settings": feed.settings, "designation": where.designation}
    tls = config.tls.redis_options()
    peer_redis: dict[str, Any] = {"peer_login": config.peer_login, "peer_tls": tls if config.agent_tls else None}
    web: dict[str, Any] = {"keys": config.secret_keys, "url_prefix": config.url_prefix, "clock": clock, "pool": pool}
    web["ssl_context"] = config.tls.context
    lan = LazyLan(
        LanProbe(
            settings=feed.to_keep_up,
            own_address=where.own_host,
            own_url=where.own_url,
            url_prefix=config.url_prefix,
            clock=clock,
            ssl_context=config.tls.context,
        )
    )
    lan_port: LanPort = lan
    channel = AgentChannel(
        own_url=config.redis_url, keys=keys, secret_keys=config.secret_keys, pool=pool, **peer_redis, **shared
    )
    votes = RedisVotes(
        own_url=config.redis_url,
        keys=keys,
        clock=clock,
        witness_login=config.witness_login,
        witness_tls=tls if config.witness_tls else None,
        **peer_redis,
        **shared,
    )
    ports = Ports(
        clock=clock,
        runner=SideBySide(pool),
        peer=PeerHttp(peer_url=where.peer_url, own_url=where.own_url, **web, **shared),
        channel=channel,
        votes=votes,
        runtime=runtime,
        journal=SqlJournal(database),
        services=_services(config),
        lan=lan_port,
        vip=VipProbe(**web, **shared),
        settings=feed,
        dispatch=dispatch,
        log=log,
        fence=FenceCommand(config.fence_command, config.fence_limit_s) if config.fence_command else None,
    )
    return ports, lan
