"""The identities by which people sign in through an identity provider."""

from migrations.sql import run

revision = "0014"
down_revision = "0013"

IDENTITIES = """
create table identities (
    issuer     text        not null,
    subject    text        not null,
    user_id    uuid        not null constraint an_identity_is_of_a_user references users on delete cascade,
    created_at timestamptz not null default now(),
    constraint an_identity_is_of_one_user primary key (issuer, subject),
    constraint a_user_has_one_identity_of_an_issuer unique (user_id, issuer)
);
"""


def upgrade() -> None:
    run(IDENTITIES)
