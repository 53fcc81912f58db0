#!/usr/bin/env python3
"""deploy-service-mesh.ps1 against the grammar of PowerShell, and against deploy-service-mesh.sh: the same help, options, exit codes and
messages. Where there is no PowerShell to run it, this is all that is known of it.

Needs the packages tree-sitter and tree-sitter-powershell."""

import pathlib
import re
import sys

import tree_sitter
import tree_sitter_powershell

MANIFESTS = pathlib.Path(__file__).resolve().parents[3] / "wasmplugin-manifests"
shell = (MANIFESTS / "deploy-service-mesh.sh").read_text()
power = (MANIFESTS / "deploy-service-mesh.ps1").read_text()
failures = []


def check(name, problem):
    if problem:
        failures.append(name)
        print(f"FAILED: {name}: {problem}")


def syntax_errors(source):
    def walk(node):
        if node.is_error or node.is_missing:
            yield f"line {node.start_point[0] + 1}: {node.text.decode()[:80]!r}"
        for child in node.children:
            yield from walk(child)

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    return "; ".join(walk(parser.parse(source.encode()).root_node))


def literals(line):
    """The quoted texts of a line, with § for what is put in when it runs: `$(…)`, `${…}`, `$name`."""
    at = 0
    while at < len(line):
        quote, text = line[at], ""
        at += 1
        if quote not in "\"'":
            continue
        while at < len(line) and line[at] != quote:
            if quote == '"' and line[at] in "\\`":
                at += 1
            elif quote == '"' and line.startswith("$(", at):
                depth, text = 1, text + "§"
                at += 2
                while at < len(line) and depth:
                    depth += {"(": 1, ")": -1}.get(line[at], 0)
                    at += 1
                continue
            elif quote == '"' and (variable := re.match(r"\$\{[^}]*\}|\$\w+", line[at:])):
                text += "§"
                at += variable.end()
                continue
            text += line[at]
            at += 1
        at += 1
        yield re.sub(r"(§[ /]?)+", "§", text.replace("deploy-service-mesh.ps1", "deploy-service-mesh.sh")).strip(" §")


def messages(source, calls):
    """What a line hands to the functions that print, or, where one goes over several lines, the line itself."""
    return {
        text
        for line in source.splitlines()
        if re.search(calls, line) or re.match(r"\s+[\"'](try:|then run|push the|applied all|install its)", line)
        for text in literals(line)
        if len(text) > 20 and " " in text
    }


def difference(one, other):
    return "; ".join([f"only in .sh: {text!r}" for text in sorted(one - other)] + [f"only in .ps1: {text!r}" for text in sorted(other - one)])


check("the grammar accepts it", syntax_errors(power))
check("the grammar is not content with anything", "" if syntax_errors(power + "\nif ($x { }\n") else "it accepts a broken script")

help_of = lambda source, begin, end: source.split(begin, 1)[1].split(end, 1)[0].strip().replace(".ps1", ".sh")
check("the help is the same", help_of(shell, "<<'END'\n", "\nEND\n") != help_of(power, "    @'\n", "\n'@\n") and "it differs")

options = lambda source, pattern: set(re.findall(pattern, source, re.M))
check("the options are the same", difference(options(shell, r"^            (--[a-z-]+)(?= ?\)| \| -h\))"), options(power, r"^            '(--[a-z-]+)' \{")))

codes = lambda source, line: dict((name.replace("_", "").lower(), int(code)) for name, code in re.findall(r"\$?(\w+) ?= ?(\d)\b", next(text for text in source.splitlines() if re.match(line, text))))
check("the exit codes are the same", codes(shell, r"readonly ok=") != codes(power, r"\$ok = ") and "they differ")

ours = messages(shell, r"(^|[\s;])(say|more|warn|passed|failed|fail|wrong_usage|confirm)\s")
theirs = messages(power, r"\b(Say|More|Warn|Passed|Failed|Fail|Stop-Usage|Confirm-Change)\b")
check("there are messages to compare", "" if len(ours) > 60 else f"only {len(ours)}")
check("the messages are the same", difference(ours, theirs))

print(f"{6 - len(failures)} passed, {len(failures)} failed")
sys.exit(bool(failures))
