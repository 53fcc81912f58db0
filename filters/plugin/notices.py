#!/usr/bin/env python3
"""The licences of what is compiled into the module, and into the playground: a THIRD-PARTY-NOTICES.txt of each.

`notices.py` writes the files, `notices.py --check` fails when one is not current.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
import linked  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
FILE = "THIRD-PARTY-NOTICES.txt"
# Folder, package, target, first line.
MADE = [
    (HERE, linked.PACKAGE, linked.TARGET, "What careplane's module is made of, beside careplane itself."),
    (HERE.parents[1] / "playground", "careplane-playground", "wasm32-unknown-unknown", "What the playground's WebAssembly is made of, beside careplane itself."),
]
RULE = "=" * 100


def packages(name, target):
    """What a package is linked from, without what is of the project."""
    return (package for package in linked.packages(linked.metadata(target), (), name, target) if package["source"])


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
    for folder, name, target, head in MADE:
        file = folder / FILE
        text = head + "\n\n" + "\n\n".join(map(notice, packages(name, target))) + "\n"
        if sys.argv[1:] != ["--check"]:
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            sys.exit(f"{file.relative_to(HERE.parents[1])} is out of date: run `make notices`")


main()
