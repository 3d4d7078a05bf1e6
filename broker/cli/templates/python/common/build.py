"""Builds {{name}}.wasm out of component.py and what it imports."""

import subprocess

WORLDS = {
    "filter": "filter-plugin",
    "key": "ordering-key-plugin",
    "route": "router-plugin",
    "transform": "mapper-plugin",
    "project": "mapper-plugin",
    "retry-policy": "retry-plugin",
}

command = ["componentize-py", "-d", "weir/wit", "-w", WORLDS["{{hook}}"], "componentize"]
command += ["--stub-wasi", "-p", ".", "-p", "weir/kit-py", "component", "-o", "{{name}}.wasm"]
subprocess.run(command, check=True)
