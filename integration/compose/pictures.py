"""Draws what a person sees in Grafana and in Jaeger, from the same queries: Grafana is in no package registry, and Jaeger's own page
is not in its Go module. The pictures are pages of HTML with SVG, for a browser to show."""

import html
import json
import re
import time
import urllib.parse
import urllib.request

COLOURS = ["#2f6fb2", "#c2571a", "#2e8540", "#8a3ab9", "#b5890b", "#c0392b", "#138d90", "#6b6b6b", "#d35fa6", "#4b4bb5"]
# As Grafana fills them in.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1m", "$app": ".*", "$service": ".*"}
# How far back a picture goes, and how many seconds a point stands for.
SPAN, STEP = 120, 5
STYLE = """
body { margin: 0; padding: 16px; width: 1168px; background: #fff; color: #1b1b1b; font: 13px/1.35 system-ui, sans-serif }
h1 { font-size: 20px; margin: 0 0 10px } h2 { font-size: 14px; margin: 14px 0 6px }
.panels { display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px }
.panel { border: 1px solid #d0d4d9; border-radius: 4px; padding: 8px; min-width: 0 }
.panel b { font-weight: 600 } .big { font-size: 34px; text-align: center; padding: 14px 0 }
.none { color: #6b6b6b; padding: 50px 0; text-align: center }
.legend { font-size: 11px; line-height: 1.5 } .legend span { white-space: nowrap; margin-right: 10px }
i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 4px }
svg { display: block; width: 100% } svg text { font: 11px system-ui, sans-serif; fill: #555 }
table { border-collapse: collapse; width: 100% } td { padding: 2px 8px; border-top: 1px solid #e3e6e9; vertical-align: top }
td:first-child { width: 190px; color: #555 } code { font: 12px ui-monospace, monospace }
"""


def get(url, **query):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)


def expression(text):
    for variable, value in VARIABLES.items():
        text = text.replace(variable, value)
    return text


def name(target, labels):
    shown = target.get("legendFormat") or ""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), shown).strip() or "value"


def series(prometheus, panel):
    """What a panel shows: names, with points of time and value."""
    found, end = [], time.time()
    for target in panel["targets"]:
        query = expression(target["expr"])
        answer = get(f"{prometheus}/api/v1/query_range", query=query, start=end - SPAN, end=end, step=STEP)
        for one in answer["data"]["result"]:
            points = [(float(at), float(value)) for at, value in one["values"] if value != "NaN"]
            if points:
                found.append((name(target, one["metric"]), points))
    return found


def value(number, unit):
    if unit == "percentunit":
        return f"{100 * number:.3g} %"
    if unit == "bytes":
        return f"{number / 1e6:.3g} MB"
    return f"{number:,.3g}" if number < 1000 else f"{number:,.0f}"


def chart(lines, unit, columns):
    width, height, left, bottom = 46 * columns, 130, 46, 18
    times = [at for _, points in lines for at, _ in points]
    first, last = min(times), max(max(times), min(times) + STEP)
    top = max(number for _, points in lines for _, number in points) or 1
    place = lambda at, number: (left + (at - first) / (last - first) * (width - left - 4), height - bottom - number / top * (height - bottom - 10))
    marks = []
    for part in (0, 0.5, 1):
        _, y = place(first, top * part)
        marks.append(f'<path d="M{left} {y:.1f}H{width}" stroke="#e3e6e9"/><text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{value(top * part, unit)}</text>')
    for at in (first, last):
        x, _ = place(at, 0)
        anchor = "start" if at == first else "end"
        marks.append(f'<text x="{x:.1f}" y="{height - 3}" text-anchor="{anchor}">{time.strftime("%H:%M:%S", time.gmtime(at))}</text>')
    for index, (_, points) in enumerate(lines):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        marks.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.6"/>')
    return f'<svg viewBox="0 0 {width} {height}">{"".join(marks)}</svg>'


def legend(lines):
    colour = lambda index: COLOURS[index % len(COLOURS)]
    return "".join(f'<span><i style="background:{colour(index)}"></i>{html.escape(label)}</span>' for index, (label, _) in enumerate(lines))


def dashboard(prometheus, document):
    """A dashboard's page. Panels that have nothing to show are left out, and counted."""
    rows, left_out = [], 0
    for panel in sorted(document["panels"], key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"])):
        if panel["type"] == "row":
            rows.append((panel["title"], []))
            continue
        lines = series(prometheus, panel)
        if not lines:
            left_out += 1
            continue
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "")
        if panel["type"] == "stat":
            shown = f'<div class="big">{value(lines[0][1][-1][1], unit)}</div>'
        else:
            shown = f'{chart(lines, unit, panel["gridPos"]["w"])}<div class="legend">{legend(lines)}</div>'
        rows[-1][1].append(f'<div class="panel" style="grid-column: span {panel["gridPos"]["w"]}"><b>{html.escape(panel["title"])}</b>{shown}</div>')
    parts = [f"<h2>{html.escape(title)}</h2><div class=panels>{''.join(panels)}</div>" for title, panels in rows if panels]
    note = f"<p>{left_out} panels have nothing to show here, and are left out.</p>" if left_out else ""
    return page(document["title"], "".join(parts) + note)


def trace(jaeger, identifier):
    """A trace's page: a bar for each span, and the tags of each."""
    found = get(f"{jaeger}/api/traces/{identifier}")["data"][0]
    spans = sorted(found["spans"], key=lambda span: span["startTime"])
    begin = spans[0]["startTime"]
    end = max(span["startTime"] + span["duration"] for span in spans)
    bars, tables = [], []
    for index, span in enumerate(spans):
        x = 300 + (span["startTime"] - begin) / max(end - begin, 1) * 760
        wide = max(span["duration"] / max(end - begin, 1) * 760, 2)
        service = found["processes"][span["processID"]]["serviceName"]
        y = 10 + 26 * index
        bars.append(
            f'<text x="0" y="{y + 12}">{html.escape(service)}: {html.escape(span["operationName"])}</text>'
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="16" rx="2" fill="{COLOURS[index % len(COLOURS)]}"/>'
            f'<text x="1070" y="{y + 12}">{span["duration"] / 1000:.2f} ms</text>'
        )
        tags = sorted((tag["key"], str(tag["value"])) for tag in span["tags"] if str(tag["value"]) not in ("", "-"))
        cells = "".join(f"<tr><td>{html.escape(key)}</td><td><code>{html.escape(text)}</code></td></tr>" for key, text in tags)
        tables.append(f"<h2>{html.escape(service)}</h2><table>{cells}</table>")
    drawing = f'<svg viewBox="0 0 1168 {20 + 26 * len(spans)}">{"".join(bars)}</svg>'
    return page(f"Trace {identifier}", drawing + "".join(tables))


def page(title, body):
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>{body}</html>'
