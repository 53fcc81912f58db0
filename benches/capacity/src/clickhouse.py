"""Prints what ClickHouse takes for a file of records: CPU seconds to insert, verify and search, and bytes on disk.

By chDB, without a server: one JSON object. Arguments: the file, and a pseudonym to search for.
"""

import json
import pathlib
import resource
import sys

from chdb import session

FOLDER = pathlib.Path(__file__).parents[3] / "evidence/clickhouse"


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    path, pseudonym = sys.argv[1:]
    clickhouse = session.Session()
    schema, verify = ((FOLDER / name).read_text() for name in ("schema.sql", "verify.sql"))
    clickhouse.query(schema)
    as_of = "toDateTime64('2100-01-01 00:00:00', 6, 'UTC')"
    size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'careplane_audit'"
    queries = {
        "insert": f"INSERT INTO careplane_audit (record) SELECT line FROM file('{path}', LineAsString, 'line String')",
        "verify": verify.replace("{as_of:DateTime64(6, 'UTC')}", as_of),
        "search": f"SELECT count() FROM careplane_audit WHERE position(record, '{pseudonym}') > 0",
    }
    found = {}
    for name, query in queries.items():
        began = cpu()
        clickhouse.query(query, "TabSeparated")
        found[name] = cpu() - began
    clickhouse.query("OPTIMIZE TABLE careplane_audit FINAL")
    found["bytes"] = int(clickhouse.query(size, "TabSeparated").bytes().decode().strip())
    print(json.dumps(found))
    clickhouse.close()


main()
