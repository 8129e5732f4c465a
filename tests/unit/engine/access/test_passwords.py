"""Password hashes: RabbitMQ's formats, and what is none."""

import pytest

from leveret.engine.access.passwords import (
    MD5,
    SHA256,
    SHA512,
    PasswordError,
    check_hash,
    hash_password,
    matches,
)


@pytest.mark.parametrize("algorithm", [SHA256, SHA512, MD5])
def test_a_password_matches_its_hash_only(algorithm: str) -> None:
    hashed = hash_password("pässword".encode(), algorithm)
    assert check_hash(hashed, algorithm) == algorithm
    assert matches("pässword".encode(), hashed, algorithm)
    assert not matches(b"password", hashed, algorithm)
    assert not matches(b"", hashed, algorithm)


def test_two_hashes_of_a_password_differ() -> None:
    assert hash_password(b"guest") != hash_password(b"guest")


def test_an_empty_hash_or_password_never_matches() -> None:
    assert not matches(b"", "", SHA256)
    assert not matches(b"guest", "", SHA256)
    assert not matches(b"", hash_password(b""), SHA256)


def test_the_example_of_rabbitmqs_documentation() -> None:
    """Salt 908D C60A, password "test12" (RabbitMQ: Credentials and Passwords)."""
    hashed = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    assert matches(b"test12", hashed, SHA256)
    assert not matches(b"test13", hashed, SHA256)


@pytest.mark.parametrize(
    ("password_hash", "algorithm", "text"),
    [
        ("no base64!", SHA256, "not base64"),
        ("AAAA", SHA256, "of 3 bytes instead of 36"),
        ("AAAA", SHA512, "of 3 bytes instead of 68"),
        ("", "bcrypt", "unknown hashing algorithm 'bcrypt'"),
    ],
)
def test_a_hash_from_elsewhere_is_checked(password_hash: str, algorithm: str, text: str) -> None:
    with pytest.raises(PasswordError, match=text):
        check_hash(password_hash, algorithm)


def test_other_names_of_an_algorithm_are_known() -> None:
    assert check_hash("", "SHA256") == SHA256
