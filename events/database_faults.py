"""Errors of the database that no waiting mends: what is wrong and what to do, in one line.

Everything else is either an outage (`database.AWAY`), or the fault of one statement's values.
"""

import ssl
from typing import Any

import asyncpg
import structlog

NO_SUCH_SCHEMA = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
    asyncpg.DatatypeMismatchError,
    asyncpg.WrongObjectTypeError,
    asyncpg.CannotCoerceError,
    asyncpg.InvalidColumnReferenceError,
    asyncpg.InvalidTableDefinitionError,
)


class UnsuitableDatabase(Exception):
    """The database is not one that we can work on. The message is one line for a person: what is wrong, and what to do."""


def fault(error: BaseException) -> str | None:
    """What is wrong and what to do; None where the error may go away by itself, or is the fault of what was asked."""
    said = " ".join(str(error).split())
    match error:
        case UnsuitableDatabase():
            return said
        case asyncpg.InvalidCachedStatementError():
            return None  # prepared before a migration; it is prepared anew
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"the role lacks a right ({said}): run `rireki migrate --app-role <role>` as the owner of the tables; a role"
                " that migrates needs `grant usage, create on schema … to <role>`"
            )
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"PostgreSQL does not let the role in ({said}): correct the role or its password in DATABASE_URL"
        case asyncpg.InvalidCatalogNameError():
            return f"the database is not there ({said}): create it, or correct DATABASE_URL"
        case asyncpg.InvalidSchemaNameError():
            return f"there is no schema to work in ({said}): correct the role's search_path"
        case _ if isinstance(error, NO_SUCH_SCHEMA):
            return f"the schema is not the one that this version needs ({said}): run `rireki migrate`"
        case asyncpg.SyntaxOrAccessError() | asyncpg.FeatureNotSupportedError():
            return f"PostgreSQL does not take a statement of ours ({said}): it must be PostgreSQL 15 to 18"
        case ssl.SSLCertVerificationError():
            return f"PostgreSQL's certificate is not accepted ({said}): correct sslmode or sslrootcert in DATABASE_URL"
    return None


def log_trouble(log: structlog.stdlib.BoundLogger, event: str, error: Exception, **facts: Any) -> None:
    """One line on an error after which a loop goes on: as an error where somebody must act, or else as a warning."""
    if (cause := fault(error)) is not None:
        log.error(event, cause=cause, **facts)
    else:
        log.warning(event, error=repr(error), **facts)


def refuse_other_encodings(encoding: str) -> None:
    """Raises `UnsuitableDatabase` for a database that cannot hold every text."""
    if encoding != "UTF8":
        raise UnsuitableDatabase(
            f"the database has the encoding {encoding}, and Rireki needs UTF8: make another with"
            " `create database … encoding 'UTF8' template template0`"
        )
