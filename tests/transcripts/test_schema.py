"""Migrations only go forward, all of them in one transaction."""

import sqlite3
from pathlib import Path

import pytest

from vtuber_brain.errors import ConfigError
from vtuber_brain.transcripts import schema
from vtuber_brain.transcripts.schema import VERSION, migration_script

PATH = Path("transcripts.db")


def test_a_new_database_gets_every_table():
    database = sqlite3.connect(":memory:")
    database.executescript(migration_script(PATH, 0))
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    written = {"streams", "messages", "verdicts", "drops", "turns", "hearings", "utterances", "retractions"}
    assert names == written | {"ratings", "forgotten", "consent"}
    assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
    database.close()


def test_one_that_is_up_to_date_gets_nothing():
    assert migration_script(PATH, VERSION) is None


def test_a_newer_one_is_refused():
    with pytest.raises(ConfigError, match=f"transcripts.db.*version {VERSION + 3}.*newer vtuber-brain"):
        migration_script(PATH, VERSION + 3)


def test_an_older_one_gets_only_what_it_lacks(monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE guests (id INTEGER);\n"))
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    script = migration_script(PATH, VERSION)
    assert "CREATE TABLE guests" in script
    assert "CREATE TABLE streams" not in script


def test_a_migration_that_fails_changes_nothing(monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE a (id);\nCREATE TABLE a (id);\n",))
    database = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError):
        database.executescript(migration_script(PATH, 0))
    database.rollback()
    assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert database.execute("PRAGMA user_version").fetchone() == (0,)
    database.close()
