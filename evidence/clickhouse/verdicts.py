#!/usr/bin/env python3
"""Prints the verdicts that ClickHouse has on the chains in each of some files of records, a JSON object a file: by chDB, without a server."""

import json
import pathlib
import sys

from chdb import session

FOLDER = pathlib.Path(__file__).parent
NEWEST = "SELECT toString(max(time)) FROM careplane_audit WHERE seq > 0"


def main():
    schema, verify = ((FOLDER / name).read_text() for name in ("schema.sql", "verify.sql"))
    for path in sys.argv[1:]:
        clickhouse = session.Session()
        clickhouse.query(schema)
        clickhouse.query(f"INSERT INTO careplane_audit (record) SELECT line FROM file('{path}', LineAsString, 'line String') WHERE line != ''")
        newest = clickhouse.query(NEWEST, "TabSeparated").bytes().decode().strip()
        query = verify.replace("{as_of:DateTime64(6, 'UTC')}", f"toDateTime64('{newest}', 6, 'UTC')")
        answer = clickhouse.query(query, "JSONEachRow").bytes().decode()
        rows = [json.loads(line) for line in answer.splitlines()]
        print(json.dumps({row["chain"]: row["verdict"] for row in rows}, sort_keys=True), flush=True)
        clickhouse.close()


main()
