"""Keys at rest, and keys in texts."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.vault import PUBLIC, Vault, VaultError, mask, redact, scrub

SALT = b"0123456789abcdef"
SEALING = Vault("correct horse", SALT)
PLAIN = Vault(None, SALT)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_what_is_sealed_is_opened_and_never_looks_alike(secret: bytes) -> None:
    one, other = SEALING.seal(secret), SEALING.seal(secret)
    assert SEALING.open(one) == SEALING.open(other) == secret
    assert one != other and one.startswith("g1:")


@given(st.binary(max_size=50))
def test_without_a_password_a_key_is_kept_as_it_is(secret: bytes) -> None:
    for key in (secret, b"g1:" + secret, b"g0:" + secret):
        assert PLAIN.open(PLAIN.seal(key)) == key
        assert SEALING.open(SEALING.seal(key)) == key
    if not secret.startswith((b"g0:", b"g1:")):
        assert PLAIN.seal(secret).encode("utf-8", "surrogateescape") == secret


def test_a_ciphertext_is_never_taken_for_a_key() -> None:
    """The reference sends it upstream in the key's place, and blames the key (D11)."""
    token = SEALING.seal(b"sk-secret")
    for other in (PLAIN, Vault("another", SALT), Vault("correct horse", b"f" * 16)):
        with pytest.raises(VaultError, match="ENCRYPTION_KEY"):
            other.open(token)
    with pytest.raises(VaultError):
        SEALING.open("g1:not base64 at all")
    with pytest.raises(VaultError):
        SEALING.open(token[:-8])


def test_keys_from_before_encryption_stay_readable() -> None:
    assert SEALING.open("sk-plain|+/=") == b"sk-plain|+/="
    assert SEALING.encrypts and not PLAIN.encrypts


def test_hashes_are_keyed_when_there_is_a_password() -> None:
    assert PLAIN.hash(b"sk-abc") == hashlib.sha256(b"sk-abc").hexdigest()
    assert len(SEALING.hash(b"sk-abc")) == 64
    assert SEALING.hash(b"sk-abc") != PLAIN.hash(b"sk-abc")
    assert SEALING.hash(b"sk-abc") == Vault("correct horse", SALT).hash(b"sk-abc")


def test_a_mask_shows_the_ends_of_a_long_key_and_nothing_of_a_short_one() -> None:
    assert mask("sk-1234567890") == "sk-1****7890"
    assert mask("12345678") == "****"
    assert mask("") == "****"


KEY = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=9, max_size=60)


@given(KEY, st.text(max_size=20), st.text(max_size=20))
def test_no_form_of_a_secret_survives_redaction(key: str, before: str, after: str) -> None:
    text = f"{before}{key}{after} https://h/?key={quote(key, safe='')}"
    redacted = redact(text, [key.encode()])
    if key not in mask(key):
        assert key not in redacted
        assert f"key={quote(key, safe='')}" not in redacted


@given(KEY, st.data())
def test_a_secret_is_found_whichever_of_its_characters_are_escaped(
    key: str, data: st.DataObject
) -> None:
    """`quote` leaves `/`, JavaScript leaves `!'()*`, others write `%2f` or escape letters."""
    escapes = st.sampled_from(["{0}", "%{1:02X}", "%{1:02x}"])
    escaped = "".join(data.draw(escapes).format(c, ord(c)) for c in key)
    redacted = redact(f"https://h/?key={escaped}", [key.encode()])
    if key not in mask(key):
        assert escaped not in redacted and mask(key) in redacted


def test_a_form_escapes_blanks_as_plus() -> None:
    assert redact("key=a+b%2Fcdefgh", [b"a b/cdefgh"]) == "key=a b/****efgh"


def test_a_secret_that_begins_like_another_leaves_no_tail_of_it() -> None:
    secrets = [b"sk-123456", b"sk-123456-the-rest-of-it"]
    assert redact("got sk-123456-the-rest-of-it", secrets) == "got sk-1****f-it"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = "100 % of 20%2F are + fine"
    assert redact(text, [b"", b"sk-1234567890"]) == text
    assert redact(text, []) == text


def test_redaction_reaches_short_keys_too() -> None:
    """The reference leaves keys of 8 bytes or fewer in every text (D80)."""
    assert redact("Incorrect key abc123", [b"abc123"]) == "Incorrect key ****"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijklmnop",
        "sk-ant-api03-abcdefghijkl",
        "sk-proj-abc_def-ghi",
        "AIzaSyA-1234567890abcdef",
        "AQ.Ab8RN6-1234567890",
        "gsk_abcdefghijklmnop",
        "xai-abcdefghijklmnop",
    ],
)
def test_a_log_line_loses_what_looks_like_a_key(secret: str) -> None:
    for text in (f"error: {secret}.", f"Authorization: Bearer {secret}", f"/v1?key={secret}&a=1"):
        assert secret not in scrub(text)


def test_scrubbing_leaves_the_rest_alone() -> None:
    text = "listening on http://localhost:3001, 3 tasks-done, GET /a?page=1&monkey=2"
    assert scrub(text) == text
    assert scrub("/a?key=abcdefghijkl&b=1") == "/a?key=abcd****ijkl&b=1"
    assert PUBLIC in scrub(f"sign in with {PUBLIC}")
