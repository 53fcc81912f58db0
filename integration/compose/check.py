#!/usr/bin/env python3
"""Looks at docker-compose.yaml as a person would who has just read its header. Started by test.sh, with an engine of its own.

Prints what it sees. With a folder as its argument it leaves pictures there: of the application's page, of the dashboards, and of a
trace."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.dont_write_bytecode = True
import pictures as draw

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = ROOT / "integration/docker-compose.yaml"
MOUNTED = ".run/compose-test"
# Grafana cannot be had from a package registry.
SERVICES = "envoy jaeger prometheus"
BROWSERS = ["chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable", *map(str, ROOT.glob(".tools/chromium-*/chromium"))]
PATIENCE = 60
PROMETHEUS, JAEGER = "http://localhost:9090", "http://localhost:16686"
# What the dashboards show in a mesh, and cannot show here: what Istio's telemetry counts, what has a metric only once
# it went wrong, and what a plugin in shadow would do.
ISTIO = "istio_"
ELSEWHERE = [
    "Would be denied (shadow)",
    "Chains begun, more than workers",
    "Configuration refused, module not fetched",
    "Host calls that failed",
]


def run(command, check=True, **environment):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    if check and done.returncode:
        sys.exit(f"check.py: {' '.join(command)}: {done.stdout}\n{done.stderr}")
    return done


def make(*arguments):
    # `make test-compose` has built the lab already, with the dependencies of all tests.
    return run(["make", "--no-print-directory", *arguments, f"MOUNTED={MOUNTED}", "LAB=target/debug/careplane-lab"]).stdout


def compose(*arguments, check=True):
    command = ["docker", "compose", "--file", str(FILE), *arguments]
    return run(command, check, CAREPLANE_MOUNTED=str(ROOT / MOUNTED), CAREPLANE_USER=f"{os.getuid()}:{os.getgid()}")


def until(what, look, missing=lambda: ""):
    """What `look` returns, once that is something. `missing` says what there is not, if it never is."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except OSError:
            pass
        time.sleep(0.2)
    sys.exit(f"check.py: no {what} after {PATIENCE} s {missing()}")


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def curl(path, tenant=None, token=None, request_id=None, delay=None):
    """Status and body of a GET through the gateway."""
    request = urllib.request.Request(f"http://localhost:10000{path}")
    if tenant:
        token = (ROOT / MOUNTED / f"tokens/{tenant}.jwt").read_text()
    if token:
        request.add_header("authorization", f"Bearer {token}")
    if delay:
        request.add_header("x-echo-delay-ms", delay)
    if request_id:
        request.add_header("x-request-id", request_id)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def examples():
    """The curl lines of the file's header, and what `make compose` prints."""
    text = "\n".join(line[2:] for line in FILE.read_text().splitlines() if line.startswith("# "))
    return [line.strip() for line in re.findall(r"^ +(curl .*)$", text.replace("\\\n", " "), re.MULTILINE)]


def records(name):
    """The audit records of a log of Envoy's, or of the collector's."""
    found = []
    path = ROOT / MOUNTED / "log" / name
    for line in path.read_text().splitlines() if path.exists() else []:
        line = json.loads(line)
        if "resourceLogs" not in line:
            found.append(line)
            continue
        for resource in line["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                found += [json.loads(record["body"]["stringValue"]) for record in scope["logRecords"]]
    return found


class Page:
    """The application's page, in a browser on two pipes."""

    def __init__(self, url):
        program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
        if not program:
            if os.environ.get("CI") == "true":
                sys.exit("check.py: there is no browser (evidence/test-tools.sh)")
            raise FileNotFoundError("there is no browser (evidence/test-tools.sh)")
        (from_here, self.to), (self.of, from_there) = os.pipe(), os.pipe()
        # The browser reads file descriptor 3 and writes 4.
        command = f'exec "$0" "$@" 3<&{from_here} 4>&{from_there}'
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--window-size=1100,900"]
        self.process = subprocess.Popen(["bash", "-c", command, program, *options], pass_fds=[from_here, from_there], stderr=subprocess.DEVNULL)
        os.close(from_here)
        os.close(from_there)
        self.count, self.rest, self.session = 0, b"", None
        target = self.call("Target.createTarget", url=url)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                self.rest += os.read(self.of, 1 << 16) or sys.exit("check.py: the browser has ended")
            message, self.rest = self.rest.split(b"\0", 1)
            message = json.loads(message)
            if message.get("id") == self.count:
                if "error" in message:
                    sys.exit(f"check.py: {method}: {message['error']}")
                return message["result"]

    def ask(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def picture(self, path, width, height):
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def whole(self, path, width):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.picture(path, width, self.ask("Math.ceil(document.body.getBoundingClientRect().height)"))
        # Readable for all users, whatever the umask is.
        path.chmod(0o644)

    def close(self):
        os.write(self.to, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        self.process.wait()


def dashboards():
    """The shipped dashboards, as the composition has them."""
    return [(path.stem, json.loads(path.read_text())) for path in sorted((ROOT / MOUNTED / "grafana/dashboards").glob("*.json"))]


def empty_panels():
    """Which panels show nothing: those that may, and those that should show something."""
    excused, empty = [], []
    for _, document in dashboards():
        for panel in document["panels"]:
            if panel["type"] != "row" and not draw.series(PROMETHEUS, panel):
                may_be = panel["title"] in ELSEWHERE or all(ISTIO in target["expr"] for target in panel["targets"])
                (excused if may_be else empty).append(panel["title"])
    return excused, empty


def take_pictures(folder, trace):
    """Of the dashboards, and of a trace."""
    pages = [(f"dashboard-{name}.png", draw.dashboard(PROMETHEUS, document)) for name, document in dashboards()]
    pages.append(("trace.png", draw.trace(JAEGER, trace)))
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in pages:
            file = pathlib.Path(scratch) / "page.html"
            file.write_text(text)
            page = Page(file.as_uri())
            until("picture's page", lambda: page.ask("document.readyState === 'complete' && document.title"))
            page.whole(folder / name, 1200)
            page.close()
            print(f"picture: {folder / name}")


def click_through(pictures):
    """Sends the whole day by the page's button. Returns how many requests of it have a record."""
    page = Page("http://localhost:10000/")
    until("page", lambda: page.ask("document.body?.dataset.ready"))
    page.ask("document.getElementById('all').click()")
    until("end of the day", lambda: page.ask("document.body.dataset.done"))
    shown = page.ask("""[...document.querySelectorAll('li')].map(li => [
        li.querySelector('time').textContent, li.querySelector('dl').dataset.status, li.querySelector('dl').innerText])""")
    for axe in ROOT.glob(".tools/axe-*.js"):
        page.call("Runtime.evaluate", expression=axe.read_text())
        found = page.ask("axe.run().then(result => result.violations.map(violation => violation.id + ': ' + violation.help))")
        assert found == [], found
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        page.call("Emulation.setDeviceMetricsOverride", width=1000, height=900, deviceScaleFactor=1, mobile=False)
        page.picture(pictures / "page.png", 1000, 900)
    page.close()
    day = {at: (int(status), text) for at, status, text in shown}
    for at, status, words in [
        ("06:55", 200, ["stable"]),
        ("08:00", 200, ["canary", "care-home-0042", "medication-administration", "critical", "controlled-drug"]),
        ("09:15", 200, ["care-home-0233", "pool-c"]),
        ("11:05", 403, ["careplane", "tenant-conflict"]),
        ("11:20", 200, ["care-home-0012"]),
        ("11:30", 403, ["careplane", "tenant-missing"]),
        ("11:31", 401, ["Envoy", "make compose"]),
        ("14:00", 403, ["Envoy", "RBAC"]),
        ("15:01", 429, ["Envoy", "rate_limit"]),
        ("16:00", 503, ["Envoy"]),
        ("16:30", 504, ["Envoy", "timeout"]),
        ("22:00", 200, ["medication-administration", "controlled-drug"]),
    ]:
        seen = day[at]
        assert seen[0] == status and all(word in seen[1] for word in words), (at, seen)
    print(f"page: {len(shown)} requests by its button, each as it should")
    # The probe has none.
    return len(shown) - 1


def main():
    pictures = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    shutil.rmtree(ROOT / MOUNTED, ignore_errors=True)
    expected = 0

    print("up")
    said = make("compose", f"SERVICES={SERVICES}")
    assert all(example in said for example in ["curl -d", MOUNTED, "localhost:16686"]), said
    ports = compose("ps", "--format", "json").stdout
    assert '"URL":"127.0.0.1"' in ports and '"URL":"0.0.0.0"' not in ports and '"URL":"::"' not in ports, ports

    traces = []
    for example in examples():
        answer = subprocess.run(example.replace(".run/compose", MOUNTED), shell=True, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        received = dict(json.loads(answer)["headers"])
        assert received["traceparent"].endswith("-01"), answer
        trace = received["traceparent"].split("-")[1]
        traces.append(trace)
        until("trace", lambda: get(f"{JAEGER}/api/v3/traces/{trace}"))
        print(f"header: curl as {received['x-tenant-id']}, trace {trace} is in Jaeger")
        expected += 1

    expected += click_through(pictures)

    # What the head of a trace did not keep: draw 99.99, and `general` keeps a tenth. A failure, and what took long.
    status, _ = curl("/failing/report", "care-home-0107", request_id="0000270f-0000-4000-8000-00000000abcd")
    assert status == 503, status
    status, _ = curl("/reports", "care-home-0107", request_id="0000270f-0000-4000-8000-00000000abce", delay="2100")
    assert status == 200, status
    expected += 2
    services = lambda: [name for name in get(f"{JAEGER}/api/services")["data"] or [] if name.startswith("careplane")]
    for reason in ["server-error", "slow"]:
        late = lambda: [
            trace for service in services() for trace in
            draw.get(f"{JAEGER}/api/traces", service=service, tags=json.dumps({"late_reason": reason}))["data"] or []
        ]
        print(f"late: {len(until('late span', late))} {reason} in Jaeger")
    # Each listener has a name of its own there.
    assert {"careplane-gateway", "careplane-sidecar"} <= set(services()), services()

    def metric():
        query = urllib.parse.quote("sum(careplane_requests_total)")
        result = get(f"{PROMETHEUS}/api/v1/query?query={query}")["data"]["result"]
        return float(result[0]["value"][1]) >= expected and result[0]["value"][1]

    print(f"metrics: Prometheus counts {until('metric', metric)} requests")
    rate = urllib.parse.urlencode({"query": "sum(rate(careplane_denials_total[1m])) > 0"})
    rules = get(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"]
    assert rules and all(rule["health"] != "err" for group in rules for rule in group["rules"]), rules

    # A rate wants a counter that Prometheus has seen before it grew.
    expected += click_through(None)
    until("rate", lambda: get(f"{PROMETHEUS}/api/v1/query?{rate}")["data"]["result"])
    # Prometheus looks every five seconds, and a rate wants two looks.
    until("dashboards with something in each panel", lambda: not empty_panels()[1], lambda: empty_panels()[1])
    print(f"dashboards: each panel shows something, but for Istio's telemetry, faults and shadows: {'; '.join(empty_panels()[0])}")
    if pictures:
        # A minute and a half of traffic, so that there are lines to see.
        for _ in range(6):
            expected += click_through(None)
            time.sleep(12)
        take_pictures(pictures, traces[0])

    # What ends unexpectedly is started again.
    container = compose("ps", "--quiet", "upstream-stable").stdout.strip()
    state = lambda of: run(["docker", "inspect", "--format", "{{" + of + "}}", container]).stdout.strip()
    os.kill(int(state(".State.Pid")), signal.SIGKILL)
    until("restart of the application", lambda: state(".RestartCount") == "1" and state(".State.Health.Status") == "healthy")

    until("delivered record", lambda: len(records("delivered/audit.jsonl")) >= expected)
    compose("restart", "envoy")
    until("answer after a restart", lambda: curl("/api/v1/care-plans", "care-home-0107")[0] == 200)
    old = (ROOT / MOUNTED / "tokens/care-home-0107.jwt").read_text()
    claims = old.split(".")[1]
    left = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"] - time.time()
    assert 6 * 86400 < left <= 7 * 86400, left

    print("restart, then new keys")
    make("compose", f"SERVICES={SERVICES}")
    status, body = curl("/api/v1/care-plans", token=old)
    assert status == 401 and "make compose" in body, (status, body)
    assert curl("/api/v1/care-plans", "care-home-0107")[0] == 200
    in_log = lambda: [record for record in records("audit.jsonl") if record.get("kind", "request") == "request"]
    # After the restart, with the old token, and with the new one.
    expected += 3
    written = until("record of each request", lambda: len(in_log()) >= expected and in_log())
    until("delivery", lambda: {record["hash"] for record in written} <= {record["hash"] for record in records("delivered/audit.jsonl")})

    print("down")
    make("compose-down")
    log = ROOT / MOUNTED / "log"
    stores = [log / "delivered/audit.jsonl", log / "audit.jsonl", log / "envoy.log"]
    verified = subprocess.run([ROOT / "target/debug/careplane", "audit", "verify", *stores], capture_output=True, text=True)
    print(verified.stdout, end="")
    assert verified.returncode == 0 and re.search(r"^(\d+) chains: \1 complete;", verified.stdout, re.MULTILINE), verified.stderr
    assert len(in_log()) == expected, (len(in_log()), expected)

    # What is not there is said, and not made a folder.
    (ROOT / MOUNTED / "jwks.json").unlink()
    refused = compose("up", "--detach", "envoy", check=False)
    assert refused.returncode and "jwks.json" in refused.stderr and not (ROOT / MOUNTED / "jwks.json").exists(), refused.stderr
    compose("down", "--volumes")
    shutil.rmtree(ROOT / MOUNTED)
    print("docker-compose.yaml: everything as its header says")


if __name__ == "__main__":
    main()
