#!/usr/bin/env python3
"""The licences of what is compiled into the module, as its THIRD-PARTY-NOTICES.txt.

`notices.py` writes the file, `notices.py --check` fails when it is not current.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
import linked  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
FILE = HERE / "THIRD-PARTY-NOTICES.txt"
RULE = "=" * 100


def packages():
    """The packages that the module is linked from, those of the project excepted."""
    return (package for package in linked.packages(linked.metadata()) if package["source"])


def notice(package):
    """Name, version and licence of a package; and the texts that come with it, unless they are the project's own licence."""
    title = f"{package['name']} {package['version']} ({package['license']})"
    alternatives = package["license"].replace("/", " OR ").split(" OR ")
    if "Apache-2.0" in alternatives and " AND " not in package["license"]:
        return f"{RULE}\n{title}\nTaken under Apache-2.0: see LICENSE."
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(file for pattern in ("LICEN[CS]E*", "COPYING*", "NOTICE*") for file in folder.glob(pattern))
    if not files:
        sys.exit(f"{title} comes without a licence text")
    return "\n\n".join([f"{RULE}\n{title}", *(file.read_text(encoding="utf-8").strip() for file in files)])


def main():
    head = "What careplane's module is made of, beside careplane itself.\n"
    text = head + "\n" + "\n\n".join(map(notice, packages())) + "\n"
    if sys.argv[1:] != ["--check"]:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        sys.exit(f"{FILE.name} is out of date: run `make notices`")


main()
