"""Seal, open, hash, mask and redact keys.

A sealed key is a token: `g1:` and base64url of nonce, AES-256-GCM ciphertext and
tag. The secret behind it comes from `ENCRYPTION_KEY` by scrypt (RFC 7914) with a
salt that the database keeps, so the same password protects two databases with two
secrets. What isn't a token is plain text: a database filled before encryption was
switched on stays readable. A plain text that looks like a token gets `g0:` in front.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, unquote_plus

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# The default AUTH_KEY that everybody's guide shows. Hiding it would only hide how to
# sign in for the first time.
PUBLIC: Final = "sk-123456"

_SEALED: Final = "g1:"
_VERBATIM: Final = "g0:"
_NONCE_BYTES: Final = 12
_SCRYPT: Final = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024, "dklen": 64}


class VaultError(Exception):
    """A sealed key can't be opened: ENCRYPTION_KEY is missing or another one."""


class Vault:
    """Keeps keys unreadable at rest, when there is a password.

    Args:
        password: `ENCRYPTION_KEY`; None to keep keys as they are.
        salt: of this database.
    """

    def __init__(self, password: str | None, salt: bytes) -> None:
        self._cipher: AESGCM | None = None
        self._hash_key = b""
        if password:
            secret = hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
            self._cipher, self._hash_key = AESGCM(secret[:32]), secret[32:]

    @property
    def encrypts(self) -> bool:
        """Whether there is a password."""
        return self._cipher is not None

    def seal(self, secret: bytes) -> str:
        """The form in which a key is stored."""
        if self._cipher is None:
            text = secret.decode("utf-8", "surrogateescape")
            return _VERBATIM + text if text.startswith((_SEALED, _VERBATIM)) else text
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, secret, None)
        return _SEALED + base64.urlsafe_b64encode(sealed).decode("ascii")

    def open(self, stored: str) -> bytes:
        """The key itself.

        Raises:
            VaultError: it was sealed under another password. A ciphertext must never
                go upstream in a key's place.
        """
        if not stored.startswith(_SEALED):
            return stored.removeprefix(_VERBATIM).encode("utf-8", "surrogateescape")
        if self._cipher is None:
            raise VaultError("the key is encrypted, and ENCRYPTION_KEY is not set")
        try:
            sealed = base64.urlsafe_b64decode(stored[len(_SEALED) :].encode("ascii"))
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError, binascii.Error, UnicodeEncodeError):
            raise VaultError("the key was encrypted with another ENCRYPTION_KEY") from None

    def hash(self, secret: bytes) -> str:
        """What a key is looked up by: lower-case hex, 64 characters.

        Keyed when there is a password, so that the column can't be searched with a
        list of guesses.
        """
        if self._hash_key:
            return hmac.new(self._hash_key, secret, hashlib.sha256).hexdigest()
        return hashlib.sha256(secret).hexdigest()


def is_sealed(stored: str) -> bool:
    """Whether a stored key is encrypted, whoever can open it."""
    return stored.startswith(_SEALED)


def mask(secret: str) -> str:
    """A key as a person may see it: its ends; nothing of a short one."""
    return f"{secret[:4]}****{secret[-4:]}" if len(secret) > 8 else "****"


def redact(text: str, secrets: Iterable[bytes]) -> str:
    """Mask every occurrence of these secrets, as they are or escaped for a URL."""
    # The longest first: a short one may be the beginning of a long one.
    for raw in sorted(secrets, key=len, reverse=True):
        secret = raw.decode("utf-8", "replace")
        if not secret:
            continue
        hidden = mask(secret)
        text = text.replace(secret, hidden)
        if "%" in text and (secret in unquote(text) or secret in unquote_plus(text)):
            text = _escaped(secret).sub(hidden.replace("\\", r"\\"), text)
    return text


def _escaped(secret: str) -> re.Pattern[str]:
    """Finds a secret whichever of its characters are percent-encoded: everybody's differ."""
    forms = []
    for character in secret:
        percent = "".join(f"%(?i:{byte:02x})" for byte in character.encode())
        plus = r"|\+" if character == " " else ""
        forms.append(f"(?:{re.escape(character)}|{percent}{plus})")
    return re.compile("".join(forms))


_SHAPES: Final = re.compile(
    r"""
      (?P<bearer> \b (?:Bearer|Basic) \s+ ) (?P<token> [^\s"',;]{4,} )
    | (?P<query> [?&] (?:key|api[_-]?key|access_token) = ) (?P<value> [^&\s"'\#]+ )
    | (?P<key> \b (?: sk- | AIza | AQ\. | gsk_ | xai- ) [A-Za-z0-9_\-.]{6,} )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def scrub(text: str) -> str:
    """Mask whatever looks like a credential. For a logger's path: no log line needs one."""

    def hide(found: re.Match[str]) -> str:
        if found["bearer"]:
            return found["bearer"] + mask(found["token"])
        if found["query"]:
            return found["query"] + mask(found["value"])
        return found["key"] if found["key"] == PUBLIC else mask(found["key"])

    return _SHAPES.sub(hide, text)
