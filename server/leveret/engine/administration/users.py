"""Creating, changing and deleting users, and what they may do (RabbitMQ: Access Control)."""

from collections.abc import Iterable

import msgspec

from leveret.engine.access.limits import USER_LIMITS
from leveret.engine.access.passwords import SHA256, PasswordError, check_hash, hash_password
from leveret.engine.access.patterns import PatternError, permission_pattern
from leveret.engine.administration.operator import NotFound, Operator, Refused
from leveret.engine.administration.values import check_limits, check_name
from leveret.engine.administration.virtual_hosts import find_vhost
from leveret.engine.metadata.entities import OF_A_USER, Permission, TopicPermission, User


def find_user(operator: Operator, name: str) -> User:
    """The user of a name.

    :raises NotFound: if there is none.
    """
    user = operator.metadata.get(User, name)
    if user is None:
        raise NotFound(f"user '{name}' does not exist")
    return user


def hashed(password: str) -> tuple[str, str]:
    """The hash of a password that an operator gives, and its algorithm.

    :raises Refused: for an empty password.
    """
    if not password:
        raise Refused("a password must not be empty")
    return hash_password(password.encode()), SHA256


def put_user(
    operator: Operator,
    name: str,
    *,
    password_hash: str,
    hashing_algorithm: str = SHA256,
    tags: Iterable[str] = (),
    limits: dict[str, int] | None = None,
) -> User:
    """Add a user, or replace one.

    :param limits: None keeps those of a user that exists.
    :raises Refused: for a name, a hash or a limit that cannot be.
    """
    check_name("user", name)
    try:
        hashing_algorithm = check_hash(password_hash, hashing_algorithm)
    except PasswordError as error:
        raise Refused(f"user '{name}': {error}") from None
    before = operator.metadata.get(User, name)
    if limits is None:
        limits = {} if before is None else before.limits
    check_limits(limits, USER_LIMITS)
    user = User(name, password_hash, hashing_algorithm, tuple(tags), limits)
    operator.put(user)
    return user


def add_user(operator: Operator, name: str, password: str, tags: Iterable[str] = ()) -> User:
    """Add a user that does not exist.

    :raises Refused: if it exists, or as `put_user`.
    """
    if operator.metadata.get(User, name) is not None:
        raise Refused(f"user '{name}' already exists")
    password_hash, algorithm = hashed(password)
    return put_user(
        operator, name, password_hash=password_hash, hashing_algorithm=algorithm, tags=tags
    )


def change_password(operator: Operator, name: str, password: str) -> None:
    """Give a user another password. Connections that are open stay so.

    :raises NotFound: if the user does not exist.
    :raises Refused: for an empty password.
    """
    user = find_user(operator, name)
    password_hash, algorithm = hashed(password)
    operator.put(
        msgspec.structs.replace(user, password_hash=password_hash, hashing_algorithm=algorithm)
    )


def set_tags(operator: Operator, name: str, tags: Iterable[str]) -> None:
    """Replace the tags of a user.

    :raises NotFound: if the user does not exist.
    """
    operator.put(msgspec.structs.replace(find_user(operator, name), tags=tuple(tags)))


def set_limits(operator: Operator, name: str, limits: dict[str, int]) -> None:
    """Set limits of a user; others stay. A negative one is no limit.

    :raises NotFound: if the user does not exist.
    :raises Refused: for an unknown limit, or a value that is none.
    """
    user = find_user(operator, name)
    check_limits(limits, USER_LIMITS)
    operator.put(msgspec.structs.replace(user, limits={**user.limits, **limits}))


def clear_limits(operator: Operator, name: str, limits: Iterable[str] = USER_LIMITS) -> None:
    """Remove limits of a user.

    :raises NotFound: if the user does not exist.
    """
    user = find_user(operator, name)
    cleared = frozenset(limits)
    remaining = {limit: value for limit, value in user.limits.items() if limit not in cleared}
    operator.put(msgspec.structs.replace(user, limits=remaining))


def delete_user(operator: Operator, name: str) -> None:
    """Delete a user with its permissions, and close its connections.

    :raises NotFound: if it does not exist.
    """
    find_user(operator, name)
    for kind in OF_A_USER:
        for key in [key for key in operator.metadata.all(kind) if key[0] == name]:
            operator.delete(kind, *key)
    operator.delete(User, name)


def set_permission(
    operator: Operator, user: str, vhost: str, configure: str, write: str, read: str
) -> None:
    """Give a user access to a virtual host.

    :raises NotFound: if user or virtual host does not exist.
    :raises Refused: for a pattern that is no regular expression.
    """
    find_user(operator, user)
    find_vhost(operator, vhost)
    check_patterns(configure=configure, write=write, read=read)
    operator.put(Permission(user, vhost, configure, write, read))


def clear_permission(operator: Operator, user: str, vhost: str) -> None:
    """Take the access to a virtual host from a user.

    :raises NotFound: if user or virtual host does not exist.
    """
    find_user(operator, user)
    find_vhost(operator, vhost)
    operator.delete(Permission, user, vhost)


def set_topic_permission(
    operator: Operator, user: str, vhost: str, exchange: str, write: str, read: str
) -> None:
    """Restrict the routing keys of a user at a topic exchange.

    :raises NotFound: if user or virtual host does not exist.
    :raises Refused: for a pattern that is no regular expression.
    """
    find_user(operator, user)
    find_vhost(operator, vhost)
    check_patterns(write=write, read=read)
    operator.put(TopicPermission(user, vhost, exchange, write, read))


def clear_topic_permissions(
    operator: Operator, user: str, vhost: str, exchange: str | None = None
) -> None:
    """Remove the restrictions of a user at a topic exchange, or at all of a virtual host.

    :raises NotFound: if user or virtual host does not exist.
    """
    find_user(operator, user)
    find_vhost(operator, vhost)
    for key in list(operator.metadata.all(TopicPermission)):
        if key[:2] == (user, vhost) and exchange in (None, key[2]):
            operator.delete(TopicPermission, *key)


def check_patterns(**patterns: str) -> None:
    """Check the patterns of a permission.

    :raises Refused: naming the one that is no regular expression.
    """
    for right, text in patterns.items():
        try:
            permission_pattern(text)
        except PatternError as error:
            raise Refused(f"{right}: '{text}' is no regular expression: {error}") from None
