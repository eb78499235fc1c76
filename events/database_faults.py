"""Database errors that need an operator, each with the cause and the remedy in one line.

Every other error is an outage (`database.AWAY`), or is caused by the values of one statement.
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
    """The service cannot use this database.

    The message is one line with the cause and the remedy.
    """


def fault(error: BaseException) -> str | None:
    """Returns the cause and the remedy of an error that needs an operator, in one line.

    Returns None for an error that may pass by itself, or that is caused by the values of the statement.
    """
    said = " ".join(str(error).split())
    match error:
        case UnsuitableDatabase():
            return said
        case asyncpg.InvalidCachedStatementError():
            return None  # This statement was prepared before a migration, and will be prepared again.
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"the role lacks a right ({said}): run `rireki migrate --app-role <role>` as the owner of the tables; a role"
                " that migrates needs `grant usage, create on schema … to <role>`"
            )
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"PostgreSQL refuses the role ({said}): correct the role or its password in DATABASE_URL"
        case asyncpg.InvalidCatalogNameError():
            return f"the database does not exist ({said}): create it, or correct DATABASE_URL"
        case asyncpg.InvalidSchemaNameError():
            return f"the role has no schema ({said}): correct its search_path"
        case _ if isinstance(error, NO_SUCH_SCHEMA):
            return f"the schema is not the one that this version needs ({said}): run `rireki migrate`"
        case asyncpg.SyntaxOrAccessError() | asyncpg.FeatureNotSupportedError():
            return f"PostgreSQL refuses a statement of Rireki ({said}): use PostgreSQL 15 to 18"
        case ssl.SSLCertVerificationError():
            return f"PostgreSQL's certificate is not trusted ({said}): correct sslmode or sslrootcert in DATABASE_URL"
    return None


def log_trouble(log: structlog.stdlib.BoundLogger, event: str, error: Exception, **facts: Any) -> None:
    """Logs an error that a loop survives, as error if an operator must act, else as warning."""
    if (cause := fault(error)) is not None:
        log.error(event, cause=cause, **facts)
    else:
        log.warning(event, error=repr(error), **facts)


def refuse_other_encodings(encoding: str) -> None:
    """Raises `UnsuitableDatabase` unless the encoding is UTF8, which can store every text."""
    if encoding != "UTF8":
        raise UnsuitableDatabase(
            f"the database has the encoding {encoding}, and Rireki needs UTF8: create another with"
            " `create database … encoding 'UTF8' template template0`"
        )
