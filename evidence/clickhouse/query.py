#!/usr/bin/env python3
"""Prints what a query of this folder answers on each of some files of records: a JSON list of rows a file.

query.py verify.sql FILE…: by chDB, without a server. Of the environment: chains are judged at AS_OF, else at the newest
record; a period is from FROM to TO, else open.
"""

import json
import os
import pathlib
import sys

from chdb import session

FOLDER = pathlib.Path(__file__).parent
NEWEST = "SELECT toString(max(time)) FROM careplane_audit WHERE seq > 0"


def main():
    schema, query = ((FOLDER / name).read_text() for name in ("schema.sql", sys.argv[1]))
    for path in sys.argv[2:]:
        clickhouse = session.Session()
        clickhouse.query(schema)
        lines = f"SELECT line FROM file('{path}', LineAsString, 'line String') WHERE line != ''"
        clickhouse.query(f"INSERT INTO careplane_audit (record) {lines}")
        newest = clickhouse.query(NEWEST, "TabSeparated").bytes().decode().strip()
        times = {"as_of": newest, "from": "1970-01-02 00:00:00", "to": "2200-01-01 00:00:00"}
        asked = query
        for name, time in times.items():
            time = os.environ.get(name.upper(), time)
            asked = asked.replace(f"{{{name}:DateTime64(6, 'UTC')}}", f"toDateTime64('{time}', 6, 'UTC')")
        answer = clickhouse.query(asked, "JSONEachRow").bytes().decode()
        print(json.dumps([json.loads(line) for line in answer.splitlines()], sort_keys=True), flush=True)
        clickhouse.close()


main()
