"""A busy application, for tests: commits to a DuckDB file without pause, so that any copy can be judged exactly.

Run by whichever version of DuckDB is to be tested: `python duckdb_writer.py DATABASE ACKNOWLEDGED ROWS BALLAST BLOCK_SIZE
CHECKPOINT PAUSE SEED STYLE`. Needs nothing else. Prints `ready`, then works until its stdin ends. After the commit of
transaction n it writes n to the file ACKNOWLEDGED (8 bytes, little-endian). Transaction n moves n % 17 between two accounts,
inserts item n, deletes item n - 1000, and now and then stamps a stretch of the bulk table. BALLAST is bytes of a table that
stays as it is. STYLE is `between` for checkpoints between two commits, `beside` for checkpoints while commits go on.
"""

import os
import random
import sys
import threading
import time

import duckdb

ACCOUNTS = 1000
BALANCE = 1000
ITEMS = 1000
GROUP = 122_880  # rows of a row group: a stamp makes a checkpoint write one anew
STAMPED = 100  # rows of a group that bear its stamp
HEAVY = 3600  # bytes of a row of the ballast: many bytes are as much to copy, and few values are quick to read


def transfer(n: int) -> tuple[int, int, int]:
    """From which account to which, and how much."""
    return n * 7919 % ACCOUNTS, n * 104_729 % ACCOUNTS, n % 17


def fill(connection: duckdb.DuckDBPyConnection, rows: int, ballast: int) -> int:
    groups = max(1, rows // GROUP)
    connection.execute(
        f"CREATE TABLE accounts AS SELECT range AS id, {BALANCE}::BIGINT AS balance FROM range({ACCOUNTS})"
    )
    connection.execute("CREATE TABLE items (n BIGINT PRIMARY KEY, payload VARCHAR)")
    connection.execute("CREATE TABLE progress AS SELECT 0::BIGINT AS n")
    connection.execute("CREATE TABLE noise AS SELECT 0::BIGINT AS n")
    connection.execute(f"CREATE TABLE stamps AS SELECT range AS grp, 0::BIGINT AS n FROM range({groups})")
    connection.execute(f"CREATE TABLE bulk AS SELECT range AS id, uuid() AS u FROM range({rows})")
    connection.execute(f"UPDATE bulk SET u = md5(id || '-0')::UUID WHERE id % {GROUP} < {STAMPED}")
    if ballast:
        connection.execute("SET force_compression = 'uncompressed'")
        connection.execute(
            f"CREATE TABLE ballast AS SELECT repeat(uuid()::VARCHAR, {HEAVY // 36}) AS text FROM range({ballast // HEAVY})"
        )
    connection.execute("CHECKPOINT")
    connection.execute("SET force_compression = 'auto'")
    return groups


def commit(connection: duckdb.DuckDBPyConnection, n: int, groups: int, choice: random.Random) -> None:
    source, target, amount = transfer(n)
    connection.execute("BEGIN")
    connection.execute("UPDATE accounts SET balance = balance - ? WHERE id = ?", [amount, source])
    connection.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", [amount, target])
    connection.execute("INSERT INTO items VALUES (?, ?)", [n, f"{n}-" * (n % 50)])
    connection.execute("DELETE FROM items WHERE n = ?", [n - ITEMS])
    connection.execute("UPDATE progress SET n = ?", [n])
    if n % 20 == 0:
        group = choice.randrange(groups)
        start = group * GROUP
        connection.execute(
            f"UPDATE bulk SET u = md5(id || '-{n}')::UUID WHERE id >= {start} AND id < {start + STAMPED}",
        )
        connection.execute(f"UPDATE stamps SET n = {n} WHERE grp = {group}")
    connection.execute("COMMIT")


def main() -> None:
    database, acknowledged, rows, ballast, block_size, every, pause, seed, style = sys.argv[1:]
    connection = duckdb.connect()
    connection.execute("SET checkpoint_threshold = '1TB'")  # they come at our pace
    connection.execute(f"ATTACH '{database}' AS work (BLOCK_SIZE {block_size})")
    connection.execute("USE work")
    groups = fill(connection, int(rows), int(ballast))
    choice, ended = random.Random(int(seed)), threading.Event()
    record = os.open(acknowledged, os.O_WRONLY | os.O_CREAT, 0o600)
    os.pwrite(record, (0).to_bytes(8, "little"), 0)

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    def checkpoint_beside() -> None:
        # those that DuckDB begins by itself at a commit let the commits of others go on, to a second log
        beside = connection.cursor()
        beside.execute("USE work")
        while not ended.wait(float(every)):
            beside.execute("SET checkpoint_threshold = '1KB'")
            beside.execute("UPDATE noise SET n = n + 1")
            beside.execute("SET checkpoint_threshold = '1TB'")

    threading.Thread(target=wait_for_end, daemon=True).start()
    if style == "beside":
        threading.Thread(target=checkpoint_beside, daemon=True).start()
    os.write(1, b"ready\n")
    n, due = 0, time.monotonic() + float(every)
    while not ended.is_set():
        n += 1
        commit(connection, n, groups, choice)
        os.pwrite(record, n.to_bytes(8, "little"), 0)
        if style == "between" and time.monotonic() >= due:
            connection.execute("CHECKPOINT")
            due = time.monotonic() + float(every)
        if float(pause):
            time.sleep(choice.random() * float(pause))
    if style == "beside":
        time.sleep(0.1)
    os._exit(0)


if __name__ == "__main__":
    main()
