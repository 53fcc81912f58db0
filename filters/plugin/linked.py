"""What the module is linked from, as cargo knows it."""

import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = "careplane-plugin"
TARGET = "wasm32-wasip1"


def cargo(*arguments):
    return subprocess.check_output(["cargo", *arguments, "--locked"], cwd=HERE, text=True)


def metadata(target=TARGET):
    return json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))


def packages(known, features=(), package=PACKAGE, target=TARGET):
    """The packages of `known` (metadata) that the module (or another package) is linked from, those of the project too, in the order of their names."""
    chosen = ["--no-default-features", "--features", ",".join(features)] if features else []
    tree = cargo("tree", "-p", package, "--target", target, "-e", "normal,no-proc-macro", "--prefix", "none", *chosen)
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    found = (package for package in known["packages"] if (package["name"], "v" + package["version"]) in linked)
    return sorted(found, key=lambda package: (package["name"], package["version"]))
