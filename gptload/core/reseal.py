"""From one encryption to another: what a stored key becomes under the other vault."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gptload.core.vault import Vault, VaultError, is_sealed

# A log has many rows of the same key, and they are stored alike.
_REMEMBERED: Final = 65_536


class Reseal:
    """Turns what is stored under either of two vaults into what the new one stores.

    A stored key says by itself under which of them it is, so work that was broken off
    needs no note of how far it came: it is done again, and finds less to do.
    """

    def __init__(self, old: Vault, new: Vault) -> None:
        """
        Args:
            old: opens what there is.
            new: opens what is there afterwards; of the same salt.
        """
        self._old = old
        self._new = new
        self.renewed = lru_cache(_REMEMBERED)(self._renewed)

    def _renewed(self, stored: str, key_hash: str) -> tuple[str, str] | None:
        """Value and hash under the new vault; None if that is what they are already.

        Raises:
            VaultError: neither of the two opens it.
        """
        try:
            secret = self._new.open(stored)
            is_done = is_sealed(stored) == self._new.encrypts
        except VaultError:
            secret = self._old.open(stored)
            is_done = False
        new_hash = self._new.hash(secret)
        if is_done and key_hash == new_hash:
            return None
        return (stored if is_done else self._new.seal(secret)), new_hash
