"""Replication of a portal's rows between two PostgreSQL and between two MariaDB: every type, both ways, conflicts, numbers."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Engine,
    Enum,
    ForeignKey,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Text,
    Time,
    Uuid,
    delete,
    event,
    null,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ftplugin import FaultTolerance
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.replicate.engine import Replicator
from tests.integration.replicate.conftest import Couple, Node, a_couple

from .conftest import SERVERS
from .servers import Server

UTC = datetime.UTC
MOMENT = datetime.datetime(2026, 3, 29, 2, 30, 1)


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Team(Base):
    __tablename__ = "Teams"  # needs quotes
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)


class Phone(Base):
    __tablename__ = "phones"
    key: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    line: Mapped[str] = mapped_column(String(20), primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("Teams.id"))
    label: Mapped[str | None] = mapped_column(Text)
    big: Mapped[int | None] = mapped_column(BigInteger)
    exact: Mapped[decimal.Decimal | None] = mapped_column(Numeric(12, 3))
    real: Mapped[float | None] = mapped_column(Double)
    yes: Mapped[bool | None] = mapped_column(Boolean)
    at: Mapped[datetime.datetime | None] = mapped_column(DateTime)
    zoned: Mapped[datetime.datetime | None] = mapped_column(DateTime(timezone=True))
    day: Mapped[datetime.date | None] = mapped_column(Date)
    hour: Mapped[datetime.time | None] = mapped_column(Time)
    span: Mapped[datetime.timedelta | None] = mapped_column(Interval)
    photo: Mapped[bytes | None] = mapped_column(LargeBinary)
    options: Mapped[Any] = mapped_column(JSON, nullable=True)
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour))
    seen: Mapped[str] = mapped_column(String(20), default="never")  # excluded


def mount(mounted: FaultTolerance, engine: Engine, _folder: pathlib.Path) -> None:
    mounted.replicate(Phone, engine=engine, exclude=["seen"])
    mounted.replicate(Team, engine=engine)


@pytest.fixture(params=SERVERS)
def couple(
    request: pytest.FixtureRequest,
    server_of: Callable[[str], Server],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Couple]:
    """Threads are still: a test looks and pulls itself."""
    monkeypatch.setattr(Replicator, "ensure", lambda replicator: None)
    options = "CHARACTER SET utf8mb4" if request.param == "mariadb" else ""
    urls = [server_of(request.param).new_database(options) for _ in range(2)]
    with a_couple(tmp_path, urls, Base, mount) as found:
        yield found


def full(key: int, line: str, **changes: Any) -> Phone:
    facts: dict[str, Any] = {
        "team_id": 1,
        "label": "Zoë „desk“ \u2028 🎉 \\ ' \" %s",
        "big": -(2**63),
        "exact": decimal.Decimal("-1234567.890"),
        "real": 0.1 + 0.2,
        "yes": False,
        "at": MOMENT,
        "zoned": datetime.datetime(2026, 7, 1, 12, 0, 5, tzinfo=UTC),
        "day": datetime.date(2024, 2, 29),
        "hour": datetime.time(23, 59, 58),
        "span": datetime.timedelta(days=3, seconds=7),
        "photo": bytes(range(256)),
        "options": {"a": [1, 2.5, None, "ü"], "b": {"c": True}},
        "colour": Colour.BLUE,
    }
    return Phone(key=uuid.UUID(int=key), line=line, **(facts | changes))


def fill(session: Session) -> None:
    session.add(Team(id=1, name="staff"))
    session.flush()
    session.add_all([full(1, "a"), full(1, "b"), full(2, "a", options=None), full(3, "a", options=null())])
    session.add(Phone(key=uuid.UUID(int=2**128 - 1), line=""))


def phones(node: Node) -> list[tuple[Any, ...]]:
    columns = [column for column in Phone.__table__.columns if column.name != "seen"]
    with node.session() as session:
        return [tuple(row) for row in session.execute(select(*columns).order_by(Phone.key, Phone.line))]


def label(node: Node, key: int, said: str) -> None:
    node.edit(lambda s: s.execute(update(Phone).where(Phone.key == uuid.UUID(int=key)).values(label=said)))


def labels(node: Node) -> set[str | None]:
    with node.session() as session:
        return set(session.scalars(select(Phone.label)))


def test_every_type_edits_deletes_and_what_is_edited_apart(couple: Couple) -> None:
    couple.one.edit(fill)
    couple.settle(active=True)
    assert phones(couple.two) == phones(couple.one) and len(phones(couple.two)) == 5
    for node in couple:
        with node.session() as session:
            nulls = session.scalars(select(Phone.key).where(Phone.options.is_(null()))).all()
            assert sorted(key.int for key in nulls) == [3, 2**128 - 1], "SQL's NULL and JSON's null stay two things"
            assert set(session.scalars(select(Phone.seen))) == {"never"}
    assert [scan.edited for node in couple for scan in node.scan().values()] == [0] * 4, "and is read as it was written"

    label(couple.two, 2, "of the standby")
    couple.one.edit(lambda s: s.execute(delete(Phone).where(Phone.key == uuid.UUID(int=3))))
    couple.two.edit(lambda s: s.add(Team(id=2, name="new there")))
    couple.settle()
    assert phones(couple.two) == phones(couple.one) and "of the standby" in labels(couple.one)
    assert len(phones(couple.one)) == 4

    label(couple.one, 2, "by ann")
    couple.one.scan()
    label(couple.two, 2, "by bob, later")
    couple.settle()
    assert "by bob, later" in labels(couple.one) & labels(couple.two)
    lost = ConflictStore(couple.one.ft.database).listed()
    assert [c.lost["values"]["label"] for c in lost] == ["by ann"]
    couple.one.replicator.things["phones"].restore(lost[0].lost["values"])  # type: ignore[union-attr]
    couple.settle()
    assert "by ann" in labels(couple.two)

    label(couple.one, 1, "newer there")
    couple.one.scan()
    label(couple.two, 1, "typed this instant")  # not looked at yet
    assert couple.two.pull()["phones"].behind == 2
    assert "typed this instant" in labels(couple.two)

    couple.one.edit(lambda s: s.execute(delete(Phone)))
    couple.one.edit(lambda s: s.execute(delete(Team)))
    couple.two.scan()
    couple.one.scan(gone="delete")  # all at once: an administrator has said so
    couple.settle(3)
    assert phones(couple.one) == phones(couple.two)


def test_numbers_count_on_behind_rows_that_came_and_a_row_that_cannot_be_written_stops_no_other(couple: Couple) -> None:
    couple.one.edit(lambda s: s.add_all(Team(id=n, name=f"team {n}") for n in (1, 7)))
    couple.settle(active=True)
    couple.two.edit(lambda s: s.add(Team(name="made on the other server")))
    couple.settle()
    for node in couple:
        with node.session() as session:
            found = {team.name: team.id for team in session.scalars(select(Team))}
            assert found == {"team 1": 1, "team 7": 7, "made on the other server": 8}
    couple.two.edit(lambda s: s.execute(text(_quoted(couple, "INSERT INTO 'Teams' (id, name) VALUES (9, 'taken')"))))
    couple.one.edit(lambda s: s.add_all([Team(id=20, name="taken"), Team(id=21, name="fine")]))
    couple.one.scan()
    progress = couple.two.pull()["Teams"]
    assert len(progress.problems) == 1 and "uplicate" in progress.problems[0] and progress.behind == 1
    with couple.two.session() as session:
        assert session.get(Team, 21) is not None and session.get(Team, 20) is None


def test_a_row_numbered_nought_keeps_its_number(couple: Couple) -> None:
    def nought(session: Session) -> None:
        session.add(Team(id=5, name="nought"))
        session.flush()
        session.execute(update(Team).values(id=0))

    couple.one.edit(nought)
    couple.settle(active=True)
    with couple.two.session() as session:
        assert [(team.id, team.name) for team in session.scalars(select(Team))] == [(0, "nought")]
    couple.two.edit(lambda s: s.add(Team(name="next")))
    with couple.two.session() as session:
        assert 0 < session.scalars(select(Team.id).where(Team.name == "next")).one()


def test_servers_in_two_time_zones_hold_the_same_moment(couple: Couple) -> None:
    zone = {"postgresql": "SET TIME ZONE 'Asia/Tokyo'", "mysql": "SET time_zone = '+09:00'"}

    def tokyo(link: Any, _record: Any) -> None:
        with link.cursor() as cursor:
            cursor.execute(zone[couple.two.engine.dialect.name])
        link.commit()

    event.listen(couple.two.engine, "connect", tokyo)
    couple.two.engine.dispose()
    couple.one.edit(fill)
    couple.settle(active=True)
    assert [scan.edited for node in couple for scan in node.scan().values()] == [0] * 4
    with couple.one.session() as here, couple.two.session() as there:
        assert here.scalars(select(Phone.zoned)).all() == there.scalars(select(Phone.zoned)).all()


def _quoted(couple: Couple, statement: str) -> str:
    """The table's name in the quotes of this kind; values keep theirs."""
    mark = '"' if couple.one.engine.dialect.name == "postgresql" else "`"
    return statement.replace("'Teams'", f"{mark}Teams{mark}")
