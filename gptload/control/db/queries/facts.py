"""Facts about this database itself: the salt of its encryption, and a proof of its key."""

from __future__ import annotations

import secrets

from attrs import frozen
from sqlalchemy import Connection, delete, insert, select, update

from gptload.control.db.queries.encryption import mismatch, sample
from gptload.control.db.tables import facts
from gptload.core.errors import GptloadError
from gptload.core.vault import Vault, VaultError, is_sealed

_SALT_BYTES = 16
_SECRET_BYTES = 32
_PROOF = b"gptload"


class WrongEncryptionKey(GptloadError):
    """ENCRYPTION_KEY and the keys in the database don't fit together."""

    code = "WRONG_ENCRYPTION_KEY"


# What each mismatch means, and what to do.
_WRONG = {
    "data_not_encrypted": (
        "ENCRYPTION_KEY is set, but the keys in the database are not encrypted",
        "Encrypt them with `gptload migrate-keys --to KEY`, or start without ENCRYPTION_KEY; "
        "nothing was changed.",
    ),
    "key_not_configured": (
        "This database's keys are encrypted, and ENCRYPTION_KEY is not set",
        "Start with the ENCRYPTION_KEY that they were encrypted with, or decrypt them with "
        "`gptload migrate-keys --from KEY`; nothing was changed.",
    ),
    "key_mismatch": (
        "ENCRYPTION_KEY is not the one that this database's keys are encrypted with",
        "Start with that one, or change it with `gptload migrate-keys --from OLD --to NEW`; "
        "nothing was changed.",
    ),
    "broken_off": (
        "`gptload migrate-keys` was broken off in the middle, and the database's keys are "
        "encrypted half in one way and half in another",
        "Run it once more with the same --from and --to: it goes on where it was. With the two "
        "exchanged it takes everything back.",
    ),
}


@frozen
class Proofs:
    """A known text as the vaults sealed it, so that each can be told from another one.

    Attributes:
        current: of the vault that the keys are under; None before the first start.
        following: of the one that they are being put under; None when they aren't.
    """

    current: str | None
    following: str | None


def ensure_salt(connection: Connection) -> bytes:
    """The salt of this database's encryption; made at the first start."""
    known = known_salt(connection)
    if known is not None:
        return known
    salt = secrets.token_bytes(_SALT_BYTES)
    _write(connection, "vault_salt", salt.hex())
    return salt


def known_salt(connection: Connection) -> bytes | None:
    """The same; None before the first start."""
    known = _read(connection, "vault_salt")
    return None if known is None else bytes.fromhex(known)


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

    As long as there are no keys any ENCRYPTION_KEY is right.

    Raises:
        WrongEncryptionKey: it is another one than the keys were encrypted with, or none,
            or they aren't encrypted at all, or a change of it was broken off.
    """
    known = proofs(connection)
    found = sample(connection, vault)
    scenario = mismatch(found, vault.encrypts)
    if known.following is not None:
        scenario = "broken_off"
    elif not scenario and found.size and _is_anothers(vault, known.current):
        # Surer than a sample, of which some keys may be damaged.
        scenario = "key_mismatch" if vault.encrypts else "key_not_configured"
    if scenario:
        message, hint = _WRONG[scenario]
        raise WrongEncryptionKey(message, hint=hint)
    _write(connection, "vault_proof", vault.seal(_PROOF))


def _is_anothers(vault: Vault, proof: str | None) -> bool:
    return proof is not None and is_sealed(proof) and not proves(vault, proof)


def proofs(connection: Connection) -> Proofs:
    """What `proves` judges vaults by."""
    return Proofs(_read(connection, "vault_proof"), _read(connection, "vault_next"))


def proves(vault: Vault, proof: str | None) -> bool:
    """Whether this very vault sealed the proof."""
    if proof is None or is_sealed(proof) != vault.encrypts:
        return False
    try:
        return vault.open(proof) == _PROOF
    except VaultError:
        return False


def begin_change(connection: Connection, old: Vault, new: Vault) -> None:
    """From here to `end_change` keys may be under either vault, and no service starts."""
    _write(connection, "vault_proof", old.seal(_PROOF))
    _write(connection, "vault_next", new.seal(_PROOF))


def end_change(connection: Connection, new: Vault) -> None:
    """All keys are under the new vault now."""
    _write(connection, "vault_proof", new.seal(_PROOF))
    connection.execute(delete(facts).where(facts.c.name == "vault_next"))


def _read(connection: Connection, name: str) -> str | None:
    query = select(facts.c.value).where(facts.c.name == name)
    value: str | None = connection.execute(query).scalar()
    return value


def _write(connection: Connection, name: str, value: str) -> None:
    changed = connection.execute(update(facts).where(facts.c.name == name).values(value=value))
    if not changed.rowcount:
        connection.execute(insert(facts).values(name=name, value=value))
