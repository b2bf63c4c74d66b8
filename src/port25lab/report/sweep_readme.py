"""The README and the CITATION.cff of a sweep's data set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class _About(Protocol):
    @property
    def title(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def authors(self) -> Sequence[str]: ...
    @property
    def license(self) -> str | None: ...


class _Contents(Protocol):
    @property
    def jobs(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def set_aside(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def digest(self) -> str: ...


def citation(content: _About, about: Mapping[str, Any]) -> str:
    """CITATION.cff 1.2.0. JSON's texts are YAML's."""
    lines = [
        "cff-version: 1.2.0",
        "message: If you use this data set, please cite it with this metadata.",
        "type: dataset",
        f"title: {json.dumps(content.title, ensure_ascii=False)}",
        *([f"abstract: {json.dumps(content.description, ensure_ascii=False)}"] if content.description else []),
        "authors:",
        *(f"  - name: {json.dumps(name, ensure_ascii=False)}" for name in content.authors or UNNAMED),
        f"date-released: '{about['started'][:10]}'",
        f"version: {json.dumps(about['digest'][:12])}",
        *([f"license: {json.dumps(content.license)}"] if content.license else []),
        "keywords: [SMTP, port 25, port25lab]",
    ]
    return "\n".join(lines) + "\n"


UNNAMED = ("The sweep names no authors",)


def readme(
    content: _About, about: Mapping[str, Any], contents: _Contents, parameters: Iterable[tuple[str, str, str]]
) -> str:
    """README.md. ``parameters``: name, type and meaning of each column of a parameter."""
    rows = "".join(f"| `{name}` | {kind} | {text} |\n" for name, kind, text in parameters)
    complete = "complete" if contents.done == contents.jobs else f"{contents.jobs - contents.done} jobs without result"
    description = f"{content.description.strip()}\n\n" if content.description else ""
    return f"""\
# {content.title}

{description}Made by port25lab {about["tool"]["version"]}: {contents.jobs} jobs, each a simulated network in which mail
was really sent; {contents.attempts} attempts; {complete}. Seed {about["seed"]}. Begun {about["started"][:10]}.

A simulated network shows mechanisms: what a rule does to a path. It says nothing about how many real networks have it.

| file | content |
|---|---|
| `results.csv` | a row for each attempt |
| `jobs.csv` | a row for each job |
| `results.jsonl.gz` | a line for each attempt, with all evidence: packets, rules, replies |
| `datapackage.json` | every column: type, unit, meaning, allowed values (Frictionless Table Schema) |
| `ro-crate-metadata.json` | what was run on which files with which result (RO-Crate) |
| `environment.json` | kernels, versions, digests of the files that were read |
| `inputs/` | these files, and the sweep's own |
| `SHA256SUMS` | `sha256sum --check SHA256SUMS` |

```python
results = pandas.read_csv("results.csv")
```

| column | type | meaning |
|---|---|---|
{rows}
Times are in seconds. An empty cell means that there is no value. Texts are UTF-8.

To repeat it: `port25lab sweep inputs/sweep.yaml --out again`, then compare the digest of the results, which leaves out
times and ports:

    {contents.digest}

Licence: {content.license or "none is stated: ask the authors"}.
"""
