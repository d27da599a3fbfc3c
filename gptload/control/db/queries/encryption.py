"""Whether the stored keys were sealed with the ENCRYPTION_KEY that we have: from a sample."""

from __future__ import annotations

import hashlib
from typing import Final

from attrs import frozen
from sqlalchemy import Connection, select

from gptload.control.db.tables import api_keys
from gptload.core.vault import Vault, VaultError

_SAMPLE: Final = 20


@frozen
class Sample:
    """Shares of some stored keys, from 0 to 1.

    Attributes:
        size: how many were looked at; without any the shares mean nothing.
        plain: their hash is the one of a key that isn't encrypted.
        readable: they open with our key, and their hash is ours.
    """

    size: int
    plain: float = 0.0
    readable: float = 0.0


def sample(connection: Connection, vault: Vault) -> Sample:
    """Look at the first keys that have a hash. Decrypts here, in the database's thread."""
    table = api_keys.c
    query = (
        select(table.key_value, table.key_hash)
        .where(table.key_hash != "")
        .order_by(table.id)
        .limit(_SAMPLE)
    )
    rows = connection.execute(query).all()
    if not rows:
        return Sample(0)
    plain = sum(_plain_hash(value) == key_hash for value, key_hash in rows)
    readable = sum(_is_ours(vault, value, key_hash) for value, key_hash in rows)
    return Sample(len(rows), plain / len(rows), readable / len(rows))


def _plain_hash(value: str) -> str:
    # What a plain text is behind its mark is known without any key.
    return hashlib.sha256(value.removeprefix("g0:").encode("utf-8", "surrogateescape")).hexdigest()


def _is_ours(vault: Vault, value: str, key_hash: str) -> bool:
    try:
        return vault.hash(vault.open(value)) == key_hash
    except VaultError:
        return False
