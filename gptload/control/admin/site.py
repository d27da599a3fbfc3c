"""The dashboard as it was built: files that are read once and served from memory.

`web/` builds them into this package's `site/`. Whoever installs a wheel has them;
a checkout without them has the API, and a page that says how to build them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from gptload import control

SITE: Final = Path(control.__file__).parent / "site"
# Built beside a file; the first that a browser takes is sent.
_ENCODINGS: Final = ((b"br", ".br"), (b"gzip", ".gz"))
_POLICY_FILE: Final = "csp.json"
_PAGE: Final = "index.html"
# Whose paths are no pages of the dashboard.
_OTHERS: Final = frozenset(["api", "proxy", "metrics", "health", "readme"])
_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@frozen
class _File:
    """One file in all its forms.

    Attributes:
        forms: bytes and entity tag by content coding; b"" for none.
    """

    content_type: bytes
    forms: Mapping[bytes, tuple[bytes, bytes]]
    is_immutable: bool


class Built(Resource):
    """Answers for the dashboard's own addresses, and knows which those are."""

    isLeaf = True

    def __init__(self, files: Mapping[str, _File], policy: str, build: str) -> None:
        """
        Args:
            files: by path below `/`, with `/` between its parts.
            build: changes with any of them.
        """
        super().__init__()
        self._files = files
        self._policy = policy.encode("ascii")
        self.build = build

    def answers(self, method: bytes, parts: Iterable[str]) -> bool:
        """Whether this is the one to ask for a path."""
        return method in (b"GET", b"HEAD") and self._file(list(parts)) is not None

    def _file(self, parts: list[str]) -> _File | None:
        name = "/".join(parts)
        if name in self._files:
            return self._files[name]
        # Any other address is a page, which the router in the browser knows; but what
        # looks like a file is none, or a browser would take our HTML for a script.
        if parts[0] in _OTHERS or parts[0] == "assets" or "." in parts[-1]:
            return None
        return self._files[_PAGE]

    def render(self, request: Request) -> int:
        """Send the form of a file that the browser takes."""
        parts = [part.decode("utf-8", "replace") for part in request.postpath or [b""]]
        file = self._file(parts)
        assert file is not None  # `answers` said so
        coding = _accepted(request, file)
        content, tag = file.forms[coding]
        request.setHeader(b"Content-Type", file.content_type)
        request.setHeader(b"ETag", tag)
        request.setHeader(b"Vary", b"Accept-Encoding")
        lifetime = b"public, max-age=31536000, immutable" if file.is_immutable else b"no-cache"
        request.setHeader(b"Cache-Control", lifetime)
        if coding:
            request.setHeader(b"Content-Encoding", coding)
        if file is self._files[_PAGE]:
            request.setHeader(b"Content-Security-Policy", self._policy)
            request.setHeader(b"Referrer-Policy", b"no-referrer")
            request.setHeader(b"X-Frame-Options", b"DENY")
        if _has(request, tag):
            request.setResponseCode(304)
        else:
            request.setHeader(b"Content-Length", b"%d" % len(content))
            if request.method != b"HEAD":
                request.write(content)
        request.finish()
        return NOT_DONE_YET


def load(folder: Path) -> Built | None:
    """Read what was built; None where nothing was. Blocks: for the start only.

    Raises:
        OSError, ValueError: something is there, and can't be read.
    """
    if not (folder / _PAGE).is_file():
        return None
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    styles = ["'self'"]
    if _POLICY_FILE in found:
        styles += [f"'{each}'" for each in json.loads(found[_POLICY_FILE])["style-src"]]
    build = hashlib.sha256()
    files: dict[str, _File] = {}
    for name, content in found.items():
        build.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        is_form = any(
            name.removesuffix(ending) in found for _, ending in _ENCODINGS if name.endswith(ending)
        )
        if name != _POLICY_FILE and not is_form and not name.startswith(_POLICY_FILE):
            files[name] = _file(name, found)
    return Built(files, _POLICY.format(styles=" ".join(styles)), build.hexdigest()[:12])


def _file(name: str, found: Mapping[str, bytes]) -> _File:
    tag = hashlib.sha256(found[name]).hexdigest()[:20]
    forms = {b"": (found[name], f'"{tag}"'.encode())}
    for coding, ending in _ENCODINGS:
        if name + ending in found:
            forms[coding] = (found[name + ending], f'"{tag}-{coding.decode()}"'.encode())
    content_type = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return _File(content_type.encode(), forms, name.startswith("assets/"))


def _accepted(request: Request, file: _File) -> bytes:
    """The best content coding that the browser takes and that there is."""
    taken = set()
    for value in request.requestHeaders.getRawHeaders(b"accept-encoding", []):
        for part in value.lower().split(b","):
            coding, _, weight = part.partition(b";")
            if weight.replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0."):
                taken.add(coding.strip())
    for coding, _ in _ENCODINGS:
        if coding in taken and coding in file.forms:
            return coding
    return b""


def _has(request: Request, tag: bytes) -> bool:
    """Whether the browser has this very form already."""
    values = request.requestHeaders.getRawHeaders(b"if-none-match", [])
    known = [part.strip().removeprefix(b"W/") for value in values for part in value.split(b",")]
    return tag in known or b"*" in known
