"""Password hashes in RabbitMQ's formats (RabbitMQ: Credentials and Passwords).

A hash is the base64 of a salt of four bytes and the digest of salt and password. These are hashes
for passwords that were chosen at random: a digest takes a microsecond, and so does a guess.
"""

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Final

SALT_BYTES: Final = 4

SHA256: Final = "rabbit_password_hashing_sha256"
SHA512: Final = "rabbit_password_hashing_sha512"
MD5: Final = "rabbit_password_hashing_md5"

ALGORITHMS: Final = {SHA256: "sha256", SHA512: "sha512", MD5: "md5"}
"""Names in RabbitMQ's definitions, and those of `hashlib`. MD5 is read, and never written."""

ALIASES: Final = {"SHA256": SHA256, "SHA512": SHA512, "MD5": MD5}
"""LavinMQ's names of the same."""


class PasswordError(ValueError):
    """A hash that is none; the text names what is wrong, and not the hash."""


def hash_password(password: bytes, algorithm: str = SHA256) -> str:
    """A hash of a password, with a salt of its own.

    :param algorithm: a key of `ALGORITHMS`.
    """
    salt = os.urandom(SALT_BYTES)
    return b64encode(salt + _digest(salt, password, algorithm)).decode()


def check_hash(password_hash: str, algorithm: str) -> str:
    """Check that a hash that came from elsewhere is one. An empty one is: no password matches it.

    :returns: the name of the algorithm as RabbitMQ writes it.
    :raises PasswordError: if the algorithm is unknown or the hash has another form.
    """
    algorithm = ALIASES.get(algorithm, algorithm)
    if algorithm not in ALGORITHMS:
        raise PasswordError(f"unknown hashing algorithm '{algorithm}'")
    if not password_hash:
        return algorithm
    expected = SALT_BYTES + hashlib.new(ALGORITHMS[algorithm]).digest_size
    try:
        length = len(b64decode(password_hash, validate=True))
    except (Base64Error, ValueError):
        raise PasswordError("a password hash that is not base64") from None
    if length != expected:
        raise PasswordError(f"a password hash of {length} bytes instead of {expected}")
    return algorithm


def matches(password: bytes, password_hash: str, algorithm: str) -> bool:
    """Whether a hash is that of the password, in a time that does not depend on the difference.

    :param password_hash: one that `check_hash` accepts.
    """
    decoded = b64decode(password_hash) if password_hash else b""
    salt, digest = decoded[:SALT_BYTES], decoded[SALT_BYTES:]
    return hmac.compare_digest(digest, _digest(salt, password, algorithm)) and bool(password)


def _digest(salt: bytes, password: bytes, algorithm: str) -> bytes:
    # Not for security: RabbitMQ's older exports have MD5.
    return hashlib.new(ALGORITHMS[algorithm], salt + password, usedforsecurity=False).digest()
