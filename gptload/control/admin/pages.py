"""What anybody may see: whether we are well, and a page that says what this is."""

from __future__ import annotations

import html
from collections.abc import Callable
from importlib.metadata import metadata
from typing import Final

from twisted.web.iweb import IRequest

from gptload.control.admin.replies import plain, send, time_text
from gptload.control.admin.routing import make_routes, not_found
from gptload.control.snapshots import Snapshots

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>gptload</title>
<style>
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; }}
main {{ padding: 0 1rem; }}
code {{ font-family: ui-monospace, monospace; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<main>
<h1>gptload</h1>
<p>One address in front of many AI-API keys: it passes each call on with a key that works,
and takes keys that don't out of use until they do.</p>
<h2>Call it</h2>
<p>Give your SDK this base URL, with the name of a group, and a proxy key as its API key:</p>
<p><code>{url}/proxy/&lt;group&gt;</code></p>
<h2>Set it up</h2>
<p>Groups and keys are made over the admin API at <code>{url}/api</code>; <code>AUTH_KEY</code>
opens it. The <a href="/readme">README</a> shows the first steps.</p>
<p>The dashboard is not built in this checkout. With Node.js 20.19 or later, run
<code>npm ci &amp;&amp; npm run build</code> in <code>web/</code>, and start gptload again.</p>
<p>Version {version}. <a href="/health">Health</a>.</p>
</main>
</body>
</html>
"""


class PublicRoutes:
    """Tells nothing that a stranger should not know."""

    routes = make_routes()

    def __init__(
        self,
        snapshots: Snapshots,
        seconds: Callable[[], float],
        ticks: Callable[[], float],
        version: str,
    ) -> None:
        """
        Args:
            seconds: epoch seconds.
            ticks: monotonic seconds.
        """
        self._snapshots = snapshots
        self._seconds = seconds
        self._ticks = ticks
        self._began = ticks()
        self._version = version

    @routes.route("/", methods=["GET"])
    async def home(self, request: IRequest) -> bytes:
        request.setHeader(
            b"Content-Security-Policy",
            b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        )
        page = _PAGE.format(
            url=html.escape(self._snapshots.settings.app_url.rstrip("/")),
            version=html.escape(self._version),
        )
        return send(request, page.encode(), b"text/html; charset=utf-8")

    @routes.route("/readme", methods=["GET"])
    async def readme(self, request: IRequest) -> bytes:
        # As it was installed: a checkout and a wheel have it in the same place.
        text = metadata("gptload").json.get("description")
        if not isinstance(text, str) or not text.strip():
            raise not_found()
        return send(request, text.encode(), b"text/plain; charset=utf-8")

    @routes.route("/health", methods=["GET"])
    async def health(self, request: IRequest) -> bytes:
        body = {
            "status": "healthy",
            "timestamp": time_text(self._seconds()),
            "uptime": duration_text(self._ticks() - self._began),
            "version": self._version,
        }
        return plain(request, body)


def duration_text(seconds: float) -> str:
    """As Go writes a duration of some seconds: `1h2m3.456789s`."""
    micros = round(seconds * 1_000_000)
    minutes, micros = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{micros // 1_000_000}.{micros % 1_000_000:06d}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
