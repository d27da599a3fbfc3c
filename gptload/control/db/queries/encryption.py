"""Whether the stored keys were sealed with the ENCRYPTION_KEY that we have: from a sample."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from sqlalchemy import Connection, select

from gptload.control.db.tables import api_keys
from gptload.core.vault import Vault, VaultError, is_sealed

_SAMPLE: Final = 20
_FEW, _MOST = 0.2, 0.8


@frozen
class Sample:
    """Shares of some stored keys, from 0 to 1.

    Attributes:
        size: how many were looked at; without any the shares mean nothing.
        plain: they are not encrypted.
        readable: they open with our key, or without one.
    """

    size: int
    plain: float = 0.0
    readable: float = 0.0


def sample(connection: Connection, vault: Vault) -> Sample:
    """Look at the first keys that have a hash. Decrypts here, in the database's thread."""
    table = api_keys.c
    query = select(table.key_value).where(table.key_hash != "").order_by(table.id).limit(_SAMPLE)
    rows = connection.execute(query).all()
    if not rows:
        return Sample(0)
    values = [value for (value,) in rows]
    plain = sum(not is_sealed(value) for value in values)
    readable = sum(_opens(vault, value) for value in values)
    return Sample(len(values), plain / len(values), readable / len(values))


def _opens(vault: Vault, value: str) -> bool:
    try:
        vault.open(value)
    except VaultError:
        return False
    return True


def mismatch(found: Sample, encrypts: bool) -> str:
    """How ENCRYPTION_KEY and the stored keys disagree; empty if they don't.

    Args:
        encrypts: whether there is an ENCRYPTION_KEY.
    """
    if not found.size:
        return ""
    if encrypts and found.plain > _MOST:
        return "data_not_encrypted"
    if not encrypts and found.plain < _FEW:
        return "key_not_configured"
    if encrypts and found.plain < _FEW and found.readable < _FEW:
        return "key_mismatch"
    return ""
