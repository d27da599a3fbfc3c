"""Facts about this database itself: the salt of its encryption, and a proof of its key."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, insert, select, update
from twisted.logger import Logger

from gptload.control.db.tables import api_keys, facts
from gptload.core.errors import GptloadError
from gptload.core.vault import Vault, VaultError

_SALT_BYTES = 16
_SECRET_BYTES = 32
_PROOF = b"gptload"

log = Logger()


class WrongEncryptionKey(GptloadError):
    """The keys in the database were encrypted with another ENCRYPTION_KEY."""

    code = "WRONG_ENCRYPTION_KEY"
    hint = "Start with the ENCRYPTION_KEY that this database was made with; nothing was changed."


def ensure_salt(connection: Connection) -> bytes:
    """The salt of this database's encryption; made at the first start."""
    known = _read(connection, "vault_salt")
    if known is not None:
        return bytes.fromhex(known)
    salt = secrets.token_bytes(_SALT_BYTES)
    _write(connection, "vault_salt", salt.hex())
    return salt


def ensure_ticket_secret(connection: Connection) -> bytes:
    """What signs the tickets of uploads that go on; made at the first start."""
    known = _read(connection, "ticket_secret")
    if known is not None:
        return bytes.fromhex(known)
    secret = secrets.token_bytes(_SECRET_BYTES)
    _write(connection, "ticket_secret", secret.hex())
    return secret


def check_vault(connection: Connection, vault: Vault) -> None:
    """Prove that `vault` opens what this database holds, and remember it.

    As long as there are no keys any ENCRYPTION_KEY is right. Keys from a time without
    one stay readable under each.

    Raises:
        WrongEncryptionKey: it is another one than the keys were encrypted with.
    """
    proof = _read(connection, "vault_proof")
    has_keys = connection.execute(select(api_keys.c.id).limit(1)).first() is not None
    if proof is not None:
        try:
            vault.open(proof)
        except VaultError:
            if has_keys:
                raise WrongEncryptionKey(
                    "ENCRYPTION_KEY is not the one that this database's keys are encrypted with"
                    if vault.encrypts
                    else "This database's keys are encrypted, and ENCRYPTION_KEY is not set"
                ) from None
    sealed = vault.seal(_PROOF)
    if has_keys and vault.encrypts and proof == _PROOF.decode():
        log.warn(
            "ENCRYPTION_KEY is new here: keys that are in the database already stay readable "
            "in it until they are imported again."
        )
    _write(connection, "vault_proof", sealed)


def _read(connection: Connection, name: str) -> str | None:
    query = select(facts.c.value).where(facts.c.name == name)
    value: str | None = connection.execute(query).scalar()
    return value


def _write(connection: Connection, name: str, value: str) -> None:
    changed = connection.execute(update(facts).where(facts.c.name == name).values(value=value))
    if not changed.rowcount:
        connection.execute(insert(facts).values(name=name, value=value))
