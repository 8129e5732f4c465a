"""Importing the definitions file of the configuration, before the broker has listeners.

A file is imported once: its digest is among the metadata, and as long as it is the same, what
operators have changed since stays. Passwords that the file only refers to are looked at again at
each start, because they may change while the file does not.

In a cluster one broker imports the file. Exchanges, queues and bindings are then among the
metadata, until the owners of their virtual hosts have declared them (`imported_objects.py`).
"""

import asyncio
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from leveret.config import Auth
from leveret.engine.access.passwords import matches
from leveret.engine.administration import users
from leveret.engine.administration.definitions_file import DefinitionsFile
from leveret.engine.administration.definitions_import import DefinitionsImport, password_of
from leveret.engine.administration.merge_rules import MERGE_RULES
from leveret.engine.administration.operator import Operator, Refused
from leveret.engine.metadata.entities import ImportedFile, ImportedObjects, User
from leveret.engine.values.work import Work
from leveret.logging import get_logger
from leveret.management.service import Management
from leveret.os_errors import plain_words

WHO: Final = "definitions.file"
"""Who has changed what, in the audit log."""

SLICE_NS: Final = 20_000_000
"""Nanoseconds between two commits."""

logger = get_logger()


async def import_at_start(management: Management, path: str) -> None:
    """Import a definitions file, unless it was imported already.

    :raises Refused: if it cannot be read, or an entry is wrong, which the text names. Nothing was
        changed.
    """
    broker = management.broker
    operator = Operator(management.metadata, WHO, path)
    data = _contents(path)
    digest = sha256(data).hexdigest()
    try:
        file = msgspec.json.decode(data, type=DefinitionsFile)
    except msgspec.MsgspecError as error:
        raise Refused(f"{path}: {error}") from None
    imported = management.metadata.get(ImportedFile)
    if imported is not None and imported.digest == digest:
        _look_up_passwords(operator, file, path)
        logger.info("definitions not imported: the file is unchanged", file=path)
    else:
        if management.definitions is not None:
            management.definitions.begin_import(digest)
        pass_on = (
            None if management.definitions is None else partial(_put_objects, operator, digest)
        )
        work = DefinitionsImport(broker, operator, file, pass_on=pass_on, rules=MERGE_RULES)
        await _run(management, work)
        if work.error is not None:
            raise Refused(f"{path}: {work.error}")
        if imported is None:
            _drop_default_user(operator, file, broker.config.auth)
        management.metadata.put(ImportedFile(path, digest))
        if management.definitions is not None:
            management.definitions.end_import()
    broker.work.run_all(broker.time_slice)
    await management.durable()


def _put_objects(operator: Operator, digest: str, vhost: str, part: DefinitionsFile) -> None:
    """Have the owner of a virtual host declare what the file has for it, once there is one."""
    objects = {
        "exchanges": part.exchanges,
        "queues": part.queues,
        "bindings": part.bindings,
    }
    operator.metadata.put(ImportedObjects(vhost, digest, msgspec.to_builtins(objects)))


def _contents(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"{path}: {plain_words(error)}") from None


async def _run(management: Management, work: Work) -> None:
    """Do work to its end, with a commit after each slice."""
    broker = management.broker
    done = False
    while not done:
        broker.time_slice.begin(SLICE_NS)
        done = work.run(broker.time_slice)
        broker.commit()
        # Commits report their results in callbacks of the loop.
        await asyncio.sleep(0)


def _look_up_passwords(operator: Operator, file: DefinitionsFile, path: str) -> None:
    """Have users that still exist have the passwords that the file refers to.

    :raises Refused: if one cannot be read.
    """
    for entry in file.users:
        user = operator.metadata.get(User, entry.name)
        if user is None or (entry.password_env is None and entry.password_file is None):
            continue
        try:
            password = password_of(entry) or ""
            if not matches(password.encode(), user.password_hash, user.hashing_algorithm):
                users.change_password(operator, entry.name, password)
        except Refused as error:
            raise Refused(f"{path}: users ('{entry.name}'): {error}") from None


def _drop_default_user(operator: Operator, file: DefinitionsFile, auth: Auth) -> None:
    """Delete the user guest, whose password everybody knows, if the file has users in its place.

    One that the configuration names stays.
    """
    default = Auth()
    if not file.users or any(entry.name == auth.default_user for entry in file.users):
        return
    is_configured = (auth.default_user, auth.default_pass) != (
        default.default_user,
        default.default_pass,
    )
    if not is_configured and operator.metadata.get(User, auth.default_user) is not None:
        users.delete_user(operator, auth.default_user)
