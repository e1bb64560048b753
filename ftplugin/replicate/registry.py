"""What a portal has registered, and the things made of it for one app."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import Engine

from .files import FolderThing
from .rows import EngineSource, RowThing, table_of
from .untouched import Untouched

AnyThing = RowThing | FolderThing


@dataclass(frozen=True, kw_only=True)
class _Spec:
    """``model`` None: a folder at ``path``."""

    name: str
    model: Any = None
    engine: EngineSource | None = None
    path: str = ""
    exclude: tuple[str, ...] = ()


class Registry:
    """Of one ``FaultTolerance``."""

    def __init__(self) -> None:
        self._specs: dict[str, _Spec] = {}
        self.imported: list[str] = []  # names of what each server imports by itself: shown, not replicated

    def __len__(self) -> int:
        return len(self._specs)

    def add_model(
        self, model: Any, engine: EngineSource | None, exclude: Sequence[str], name: str, imported: bool = False
    ) -> None:
        """Raises TypeError, ValueError: what is wrong and the way out."""
        if not (engine is None or isinstance(engine, Engine) or callable(engine)):
            raise TypeError(f"replicate: engine must be an Engine or a function that returns one, not {engine!r}")
        made = RowThing(model, engine or _none, exclude, name)
        if imported:
            self.imported.append(made.name)
            return
        self._add(_Spec(name=made.name, model=model, engine=engine, exclude=tuple(exclude)))

    def add_folder(
        self, path: str | os.PathLike[str], exclude: Sequence[str], name: str, imported: bool = False
    ) -> None:
        """Raises TypeError, ValueError."""
        if isinstance(exclude, str):
            raise TypeError(f"replicate_folder: exclude must be a list of patterns, not the text {exclude!r}")
        made = FolderThing(path, exclude, name)
        if imported:
            self.imported.append(made.name)
            return
        for spec in self._specs.values():
            if spec.path and os.path.commonpath([spec.path, made.path]) in (spec.path, made.path):
                raise ValueError(
                    f"replicate_folder: {made.path} and {spec.path} lie in each other; register the outer one"
                )
        self._add(_Spec(name=made.name, path=made.path, exclude=tuple(exclude)))

    def _add(self, spec: _Spec) -> None:
        if spec.name in self._specs:
            raise ValueError(f"replicate: {spec.name!r} is registered already; give the second one another name=")
        self._specs[spec.name] = spec

    def things(self, app: Flask) -> dict[str, AnyThing]:
        """Models in the order of their foreign keys, those that others refer to first; then folders."""
        rows: list[RowThing] = []
        untouched: dict[Any, Untouched] = {}  # by engine, as far as it is known now
        folders: list[FolderThing] = []
        for spec in self._specs.values():
            if spec.path:
                folders.append(FolderThing(spec.path, spec.exclude, spec.name))
            else:
                engine = spec.engine or _flask_sqlalchemy(app, spec.model)
                shared = untouched.setdefault(spec.engine or _bind_key(spec.model), Untouched())
                rows.append(RowThing(spec.model, engine, spec.exclude, spec.name, shared))
        order: dict[Any, int] = {}
        for metadata in {id(thing.source.metadata): thing.source.metadata for thing in rows}.values():
            order |= {table: n for n, table in enumerate(metadata.sorted_tables)}
        rows.sort(key=lambda thing: order[thing.source])
        things: list[AnyThing] = [*rows, *folders]
        return {thing.name: thing for thing in things}


def _bind_key(model: Any) -> str | None:
    found: str | None = table_of(model).metadata.info.get("bind_key")
    return found


def _none() -> Engine:
    raise RuntimeError("no engine")


def _flask_sqlalchemy(app: Flask, model: Any) -> EngineSource:
    """The engine that Flask-SQLAlchemy has for ``model`` in ``app``."""

    def engine() -> Engine:
        extension = app.extensions.get("sqlalchemy")
        if extension is None or not hasattr(extension, "engines"):
            raise RuntimeError(
                "pass engine= to replicate(); without it the engine of Flask-SQLAlchemy is used, which is not here"
            )
        with app.app_context():
            found: Engine = extension.engines[_bind_key(model)]
        return found

    return engine
