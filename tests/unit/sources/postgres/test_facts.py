from collections.abc import Callable
from typing import Any

import pytest

from postgres_server import stacks
from postgres_server.running import Database, Postgres
from recoup.model.facts import Facts, compare
from recoup.sources.postgres.server import PostgresSource

Make = Callable[..., PostgresSource]


def differing(left: Facts, right: Facts) -> set[tuple[str, str]]:
    return {(line.subject, line.name) for line in compare(left, right) if not line.equal}


@pytest.fixture
def pair(database: Database, databases: Callable[..., Database]) -> tuple[Database, Database]:
    """Two databases with the same table, its rows in another order."""
    other = databases(database.server)
    rows = "SELECT n, 'row ' || n, n / 3.0 FROM generate_series(1, 300) AS n ORDER BY n"
    for one, order in ((database, "ASC"), (other, "DESC")):
        one.execute("CREATE TABLE t (a int PRIMARY KEY, b text, c numeric)", f"INSERT INTO t {rows} {order}")
    return database, other


def test_the_digest_depends_on_no_order_of_rows(pair: tuple[Database, Database], source_of: Make) -> None:
    left, right = (source_of(one).facts() for one in pair)
    assert differing(left, right) == set()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("UPDATE t SET b = b || ' ' WHERE a = 17", "digest"),
        ("UPDATE t SET b = NULL WHERE a = 17", "digest"),
        ("UPDATE t SET c = c + 0.0000000001 WHERE a = 300", "digest"),
        ("DELETE FROM t WHERE a = 1", "rows"),
        ("ALTER TABLE t ALTER b TYPE varchar(40)", "columns"),
        ("ALTER TABLE t ALTER b SET NOT NULL", "columns"),
        ("ALTER TABLE t ALTER b SET DEFAULT 'x'", "columns"),
        ("CREATE INDEX ON t (b)", "indexes"),
        ("ALTER TABLE t ADD CHECK (a > 0)", "constraints"),
    ],
)
def test_every_change_shows(change: str, name: str, pair: tuple[Database, Database], source_of: Make) -> None:
    left, right = pair
    right.execute(change)
    assert ("table public.t", name) in differing(source_of(left).facts(), source_of(right).facts())


def test_rows_that_stand_twice_do_not_cancel_each_other_out(pair: tuple[Database, Database], source_of: Make) -> None:
    for one, values in zip(pair, ("(1), (1), (2)", "(2), (2), (1)"), strict=True):
        one.execute("CREATE TABLE twice (a int)", f"INSERT INTO twice VALUES {values}")
    assert differing(*(source_of(one).facts() for one in pair)) == {("table public.twice", "digest")}


def test_a_sample_takes_some_rows_of_large_tables_the_same_ones_in_every_copy(
    pair: tuple[Database, Database], source_of: Make
) -> None:
    left, right = pair
    for one, order in ((left, "ASC"), (right, "DESC")):
        one.execute(
            f"INSERT INTO t SELECT n, md5(n::text), n FROM generate_series(1000, 15000) AS n ORDER BY n {order}"
        )
    assert differing(*(source_of(one, digest="sample").facts() for one in pair)) == set()
    chosen = [n for (n,) in left.rows("SELECT a FROM t WHERE md5(ROW(a)::text) LIKE '0%'")]
    assert 500 < len(chosen) < 1500
    right.execute(f"UPDATE t SET b = 'other' WHERE a = {chosen[0]}")
    found = differing(*(source_of(one, digest="sample").facts() for one in pair))
    assert found == {("table public.t", "digest of a sample")}
    assert differing(*(source_of(one, digest="none").facts() for one in pair)) == set()


def test_a_small_table_is_digested_whole_in_a_sample(pair: tuple[Database, Database], source_of: Make) -> None:
    for a in (1, 150, 300):
        pair[1].execute(f"UPDATE t SET b = 'other' WHERE a = {a}")
        assert differing(*(source_of(one, digest="sample").facts() for one in pair))
        pair[1].execute(f"UPDATE t SET b = 'row {a}' WHERE a = {a}")


def test_the_same_content_shows_the_same_facts_in_every_version(
    postgres: Postgres, older_postgres: Postgres, databases: Callable[..., Database], source_of: Make
) -> None:
    newer, older = databases(postgres), databases(older_postgres)
    for one in (newer, older):
        stacks.varied(one)
    assert differing(source_of(newer).facts(), source_of(older).facts()) == set()


def test_neighbours_are_exact_where_an_index_answers_roughly(database: Database, source_of: Make) -> None:
    stacks.rag(database, documents=100, dimensions=16)
    facts = source_of(database, probes=5).facts()
    assert len(facts.probes) == 5
    for probe in facts.probes:
        query = (
            'SELECT array_agg(id::text ORDER BY d, id::text COLLATE "C") FROM (SELECT id, embedding <=> (SELECT embedding'
            f" FROM document_chunks WHERE id = {probe.point}) AS d FROM document_chunks WHERE id <> {probe.point}) AS x"
        )
        assert list(probe.neighbours) == database.rows(query)[0][0][:10]
    assert [probe.point for probe in source_of(database, probes=5).facts().probes] == [p.point for p in facts.probes]


@pytest.mark.parametrize("kind", ["vector(3)", "halfvec(3)", "sparsevec(3)"])
def test_every_type_of_vector_is_probed(kind: str, database: Database, source_of: Make) -> None:
    text = "'{1:1,2:2}/3'" if kind.startswith("sparse") else "'[1,2,3]'"
    database.execute(
        "CREATE SCHEMA ext",
        "CREATE EXTENSION vector SCHEMA ext",
        f"CREATE TABLE v (a int, b int, e ext.{kind}, PRIMARY KEY (a, b))",
        f"INSERT INTO v VALUES (1, 1, {text}), (1, 2, {text}), (2, 1, NULL)",
    )
    facts = source_of(database).facts()
    assert {(probe.point, probe.neighbours) for probe in facts.probes} == {("(1,1)", ("(1,2)",)), ("(1,2)", ("(1,1)",))}
    assert facts.values["vectors public.v.e"] == {"type": kind, "indexes": "none", "vectors": 2}


def test_a_lost_neighbour_shows(pair: tuple[Database, Database], source_of: Make) -> None:
    for one in pair:
        stacks.rag(one, documents=10)
    left = source_of(pair[0]).facts()
    pair[1].execute(f"DELETE FROM document_chunks WHERE id = {left.probes[0].neighbours[0]}")
    found: Any = differing(left, source_of(pair[1]).facts())
    assert ("collection public.document_chunks", "neighbours of embedding (20 probes)") in found
