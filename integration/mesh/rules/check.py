#!/usr/bin/env python3
"""Judges what base/observability/monitoring gives to Prometheus and Grafana, with Prometheus' own promtool:

    check.py [PROMTOOL]        default: .tools/mesh/promtool (integration/mesh/promtool), else the one on PATH

The configuration loads; counters whose names hold a value become one metric with a label (RELABELLED); istiod is found with and without a revision; every rule fires when it should and not otherwise (*.test.yaml); every query of a dashboard parses; and
every metric that a rule or a dashboard reads is one that metrics.txt lists or a rule records.
Exit 1: something is wrong. Exit 3: there is no promtool.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MONITORING = ROOT / "wasmplugin-manifests/base/observability/monitoring"
RULES = sorted(MONITORING.glob("rules/*.yaml"))
# What Grafana puts in. The values only have to parse.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$service": ".*", "$app": ".*"}
# What a proxy calls its counters, and what becomes of each: a value that no rule knows would be merged with others.
RELABELLED = {
    "careplane_requests_medication_administration_allowed": ("careplane_requests_total", {"context": "medication_administration", "decision": "allowed"}),
    "careplane_requests_medication_denied": ("careplane_requests_total", {"context": "medication", "decision": "denied"}),
    "careplane_requests_medication_none": ("careplane_requests_total", {"context": "medication", "decision": "none"}),
    "careplane_denials_tenant_conflict": ("careplane_denials_total", {"reason": "tenant_conflict"}),
    "careplane_shadow_denials_tenant_conflict": ("careplane_shadow_denials_total", {"reason": "tenant_conflict"}),
    "careplane_grants_inspector": ("careplane_grants_total", {"grant": "inspector"}),
    "careplane_host_call_failures_set_property": ("careplane_host_call_failures_total", {"call": "set_property"}),
    "careplane_audit_records": ("careplane_audit_records", {}),
}
# Service and port: whether istiod's metrics are read there.
ISTIOD = {"istiod;http-monitoring": True, "istiod-stable;http-monitoring": True, "istiod;grpc-xds": False}
KEYWORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan"}


def dashboards():
    """(where, query) of every panel of every dashboard."""
    for path in sorted(MONITORING.glob("grafana/*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"]
                for name, value in VARIABLES.items():
                    query = query.replace(name, value)
                yield f"{path.name}, panel {panel['title']}", query


def rules():
    """(where, query) of every rule: a scalar on one line, or a block."""
    for path in RULES:
        for block, line in re.findall(r"^ +expr: (?:\|\n((?: {10,}.*\n)+)|(.+)\n)", path.read_text(), re.M):
            yield path.name, block or line


def relabelled(name):
    """What prometheus.yaml makes of the name of a metric: its new name, and its labels."""
    text = (MONITORING / "prometheus/prometheus.yaml").read_text()
    steps = re.findall(r"- source_labels: \[__name__\]\n +regex: (.+)\n +target_label: (.+)\n(?: +replacement: (.+)\n)?", text)
    labels = {"__name__": name}
    for regex, label, replacement in steps:
        if found := re.fullmatch(regex, labels["__name__"]):
            labels[label] = found.expand(re.sub(r"\$\{?(\d)\}?", r"\\\1", replacement or "$1"))
    return labels.pop("__name__"), labels


def is_istiod(port):
    """Whether the job `istiod` of prometheus.yaml keeps this port of this Service."""
    text = (MONITORING / "prometheus/prometheus.yaml").read_text()
    regex = re.search(r"job_name: istiod\n(?:.*\n)+?.*_endpointslice_port_name\], regex: '(.+)', action: keep", text)
    return re.fullmatch(regex[1], port) is not None


def metrics(query):
    """Names of the metrics in a query that parses, and patterns of names."""
    patterns = re.findall(r'__name__=~"([^"]+)"', query)
    query = re.sub(r'"[^"]*"', "", query)
    query = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", query)
    query = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", query)
    query = re.sub(r"\boffset\s+\w+", " ", query)
    names = {name for name in re.findall(r"(?<![\w:])[a-zA-Z_:][\w:]*(?![\w:]|\s*\()", query) if name.lower() not in KEYWORDS}
    return names, patterns


def main():
    promtool = next(filter(None, [*sys.argv[1:2], shutil.which(ROOT / ".tools/mesh/promtool"), shutil.which("promtool")]), None)
    if promtool is None:
        print("careplane: promtool is missing: integration/mesh/build.sh builds it", file=sys.stderr)
        return 3

    problems = []

    def run(*arguments):
        done = subprocess.run([promtool, *map(str, arguments)], cwd=HERE, capture_output=True, text=True)
        if done.returncode != 0:
            problems.append(f"promtool {' '.join(map(str, arguments[:2]))}\n{done.stdout}{done.stderr}")

    # --syntax-only: the files that it names are in the pod.
    run("check", "config", "--syntax-only", MONITORING / "prometheus/prometheus.yaml")
    run("check", "rules", *RULES)
    run("test", "rules", *sorted(HERE.glob("*.test.yaml")))

    problems += [f"prometheus.yaml makes {relabelled(n)} of {n}" for n, wanted in RELABELLED.items() if relabelled(n) != wanted]

    problems += [f"prometheus.yaml reads istiod's metrics at {port}: {is_istiod(port)}" for port, wanted in ISTIOD.items() if is_istiod(port) != wanted]

    queries = list(dashboards())
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        # JSON is YAML.
        recorded = [{"record": f"dashboard:query{i}", "expr": query} for i, (_, query) in enumerate(queries)]
        json.dump({"groups": [{"name": "dashboards", "rules": recorded}]}, file)
        file.flush()
        run("check", "rules", file.name)

    known = set(re.findall(r"^[a-zA-Z_:][\w:]*", (HERE / "metrics.txt").read_text(), re.M))
    known |= {name for path in RULES for name in re.findall(r"- record: (\S+)", path.read_text())}
    for where, query in [*rules(), *queries]:
        names, patterns = metrics(query)
        problems += [f"{where}: {name} is not a metric of metrics.txt" for name in sorted(names - known)]
        problems += [f"{where}: no metric of metrics.txt matches {p}" for p in patterns if not any(re.fullmatch(p, k) for k in known)]

    print("\n".join(problems) or f"{len(queries)} queries of dashboards and {len(list(rules()))} rules are right")
    return 1 if problems else 0


sys.exit(main())
