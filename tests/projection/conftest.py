"""Sinks of every kind, on real servers that are started once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import EventLog
from esnb.write import DuckDBSink, MongoDBSink, PostgreSQLSink, RedisSink
from esnb.write.projections.readmodels import Sink

from .services import MongoDBServer, PostgreSQLServer, RedisServer

KINDS = ("duckdb", "postgresql", "redis", "mongodb")
_number = itertools.count()


@dataclass
class Place:
    """Where the read models of one test stand: makes sinks, each with its own connection.

    Attributes
    ----------
    arguments
        What a process of its own needs to make the same sink (see `made`).
    """

    kind: str
    arguments: dict[str, Any]

    def sink(self, **more: Any) -> Sink:
        return made(self.kind, {**self.arguments, **more})


def made(kind: str, arguments: dict[str, Any]) -> Sink:
    """Return a sink."""
    given = dict(arguments)
    if kind == "duckdb":
        return DuckDBSink(given.pop("path"))
    if kind == "postgresql":
        return PostgreSQLSink(given.pop("url"), **given)
    if kind == "redis":
        return RedisSink(given.pop("url"), **given)
    return MongoDBSink(given.pop("url"), **given)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    server = PostgreSQLServer()
    yield server
    server.end()


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoDBServer]:
    server = MongoDBServer(tmp_path_factory.mktemp("mongodb"))
    yield server
    server.stop()


def place_on(kind: str, server: Any, tmp_path: Path, lease: float = 10) -> Place:
    """Return a place that no other test uses."""
    number = next(_number)
    if kind == "duckdb":
        return Place(kind, {"path": str(tmp_path / f"model-{number}.duckdb")})
    if kind == "postgresql":
        import psycopg

        schema = f'mod"el %s {number}'
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(
                psycopg.sql.SQL("create schema {}").format(psycopg.sql.Identifier(schema))
            )
        return Place(kind, {"url": server.url, "schema": schema})
    if kind == "redis":
        import redis

        with redis.Redis.from_url(server.url) as client:
            client.flushdb()
        return Place(kind, {"url": server.url, "lease": lease})
    return Place(kind, {"url": server.url, "database": f"test-{number}", "lease": lease})


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a place of each kind; tests with it run once a sink."""
    kind = request.param
    server = None if kind == "duckdb" else request.getfixturevalue(f"{kind}_server")
    return place_on(kind, server, tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as opened:
        yield opened
