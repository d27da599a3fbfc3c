"""Write the parts of the docs that are made from code: `make docs`.

`docs/settings.md`, `docs/admin-api.md` and `docs/openapi.json` as a whole, and the table of
settings in README.md. A test checks that they are current.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from gptload._version import __version__
from gptload.control.admin.openapi import as_markdown, document
from gptload.control.admin.routing import all_routes
from gptload.core.settings import SETTINGS, Setting

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- settings: make docs -->\n", "<!-- end of settings -->\n"

_INTRODUCTION = """\
# Settings

<!-- Made from gptload/core/settings.py by `make docs`. -->

What may change while the service runs. Read them with `GET /api/settings`, change them with `PUT /api/settings`; the next request sees the change, and background work does at its next run:

```
curl -X PUT http://localhost:3001/api/settings \\
  -H "Authorization: Bearer $AUTH_KEY" -H "Content-Type: application/json" \\
  -d '{"max_retries": 5}'
```

A group may have its own value of those marked *per group*, in its `config`. A group's own value comes first, then the system's, then the default. An empty text in a group's `config` is a value too: `"proxy_url": ""` takes the proxy from the environment, `"failover_status_codes": ""` retries no status.

What is fixed for the life of the process are environment variables: [.env.example](../.env.example).
"""


def page() -> str:
    """The whole of docs/settings.md."""
    parts = [_INTRODUCTION]
    for category, settings in groupby(_by_category(), key=lambda setting: setting.category):
        parts.append(f"\n## {category}\n\n")
        parts.append("| setting | default | range | per group | what it is for |\n")
        parts.append("|---|---|---|---|---|\n")
        parts += [
            f"| `{setting.key}` | {_default(setting)} | {_range(setting)} | "
            f"{'yes' if setting.group_overridable else 'no'} | {setting.description} |\n"
            for setting in settings
        ]
    return "".join(parts)


def admin_api() -> str:
    """The whole of docs/admin-api.md."""
    return as_markdown(document(all_routes(), __version__))


def openapi() -> str:
    """The whole of docs/openapi.json, from which the dashboard's types are made."""
    return json.dumps(document(all_routes(), __version__), indent=1, ensure_ascii=False) + "\n"


def table() -> str:
    """The short table for README.md."""
    lines = ["| setting | default | what it is for |\n", "|---|---|---|\n"]
    lines += [
        f"| `{setting.key}` | {_default(setting)} | {setting.description.split('. ')[0]} |\n"
        for setting in _by_category()
    ]
    return "".join(lines)


def with_table(readme: str) -> str:
    """README.md with the table as it is now."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _by_category() -> Iterable[Setting]:
    order = list(dict.fromkeys(setting.category for setting in SETTINGS))
    return sorted(SETTINGS, key=lambda setting: order.index(setting.category))


def _default(setting: Setting) -> str:
    if setting.key == "proxy_keys":
        return "`AUTH_KEY`"
    if isinstance(setting.default, bool):
        return str(setting.default).lower()
    if isinstance(setting.default, int):
        return f"{setting.default:,} {setting.unit}".rstrip()
    return f"`{setting.default}`" if setting.default else "empty"


def _range(setting: Setting) -> str:
    if setting.minimum is None or setting.maximum is None:
        return ""
    return f"{setting.minimum:,} to {setting.maximum:,}"


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(page())
    (ROOT / "docs" / "admin-api.md").write_text(admin_api())
    (ROOT / "docs" / "openapi.json").write_text(openapi())
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text()))
