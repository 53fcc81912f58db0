#!/usr/bin/env python3
"""The licences of what is compiled into the module, as its THIRD-PARTY-NOTICES.txt.

`notices.py` writes the file, `notices.py --check` fails when it is not current.
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
FILE = HERE / "THIRD-PARTY-NOTICES.txt"
RULE = "=" * 100


def packages():
    """The packages that the module is linked from, those of the project excepted, in the order of their names."""
    cargo = lambda *arguments: subprocess.check_output(["cargo", *arguments, "--locked"], cwd=HERE, text=True)
    tree = ["tree", "-p", "careplane-plugin", "--target", "wasm32-wasip1", "-e", "normal,no-proc-macro"]
    linked = {tuple(line.split()[:2]) for line in cargo(*tree, "--prefix", "none").splitlines() if line}
    known = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    return sorted(
        (package for package in known if package["source"] and (package["name"], "v" + package["version"]) in linked),
        key=lambda package: (package["name"], package["version"]),
    )


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
