#!/usr/bin/env python3
"""The software bill of materials of a module, in CycloneDX 1.5: `sbom.py MODULE.wasm [FEATURE…]` prints it.

What is linked, with the checksums of Cargo.lock, and which module it is, by its SHA-256. The same module from the same sources has the
same bill: no time, no random number.
"""

import hashlib
import json
import pathlib
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "filters/plugin"))

import linked  # noqa: E402


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    found = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "licenses": [{"expression": package["license"].replace("/", " OR ")}],
        "purl": reference(package),
    }
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def standard_library():
    """What rustc links besides: not in Cargo.lock, and named by the toolchain."""
    version = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    return {
        "type": "library",
        "bom-ref": f"pkg:generic/rust-std@{version}",
        "name": "rust-std",
        "version": version,
        "description": "The standard library of Rust for wasm32-wasip1, with wasi-libc and dlmalloc in it",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "purl": f"pkg:generic/rust-std@{version}",
        "externalReferences": [{"type": "vcs", "url": "https://github.com/rust-lang/rust"}],
    }


def bill(module, features):
    known = linked.metadata()
    packages = linked.packages(known, features)
    by_id = {package["id"]: package for package in packages}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock}
    plugin = next(package for package in packages if package["name"] == "careplane-plugin")
    std = standard_library()
    digest = hashlib.sha256(module.read_bytes()).hexdigest()
    main = {
        "type": "application",
        "bom-ref": module.name,
        "name": module.stem,
        "version": plugin["version"],
        "description": "careplane filters for Envoy, as a proxy-wasm module",
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "licenses": [{"expression": plugin["license"]}],
    }
    edges = {node["id"]: node for node in known["resolve"]["nodes"]}
    normal = lambda kinds: any(kind["kind"] is None for kind in kinds)
    depends = [{"ref": main["bom-ref"], "dependsOn": [reference(plugin), std["bom-ref"]]}]
    for package in packages:
        uses = (by_id[edge["pkg"]] for edge in edges[package["id"]]["deps"] if edge["pkg"] in by_id and normal(edge["dep_kinds"]))
        depends.append({"ref": reference(package), "dependsOn": sorted(map(reference, uses))})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # Derived from the module, so that every build writes the same number.
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, digest).urn,
        "version": 1,
        "metadata": {"component": main},
        "components": [component(package, checksums) for package in packages] + [std],
        "dependencies": depends,
    }


def main():
    if len(sys.argv) < 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit("usage: sbom.py MODULE.wasm [FEATURE…]: expected a module that `make build` wrote to dist/")
    print(json.dumps(bill(pathlib.Path(sys.argv[1]), sys.argv[2:]), indent=1))


main()
