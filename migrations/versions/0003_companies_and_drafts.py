"""Companies, the Chatwork rooms linked to them, and the drafts of their summaries."""

from migrations.sql import run

revision = "0003"
down_revision = "0002"

TABLES = """
create table companies (
    id         uuid        not null default gen_random_uuid() constraint companies_pkey primary key,
    name       text        not null constraint no_two_companies_have_the_same_name unique,
    created_at timestamptz not null default now(),
    constraint a_company_name_has_1_to_200_characters check (length(name) between 1 and 200 and name ~ '[^[:space:]]')
);

create table company_chatwork_rooms (
    company_id uuid        not null constraint a_link_belongs_to_a_company references companies (id),
    room_id    text        not null constraint a_link_leads_to_a_chatwork_room references chatwork_rooms (room_id),
    created_at timestamptz not null default now(),
    constraint a_room_is_linked_to_a_company_once primary key (company_id, room_id)
);
create index company_chatwork_rooms_by_room on company_chatwork_rooms (room_id);

alter table chatwork_messages
    add constraint a_message_belongs_to_a_company_that_exists foreign key (company_id) references companies (id);
create index chatwork_messages_by_company on chatwork_messages (company_id, sent_at) include (number, room_id, message_id)
    where company_id is not null;

create table summary_drafts (
    id                   uuid        not null default gen_random_uuid() constraint summary_drafts_pkey primary key,
    company_id           uuid        not null constraint a_draft_belongs_to_a_company references companies (id),
    period_start         timestamptz not null,
    period_end           timestamptz not null,
    content              text        not null,
    source_links         text[]      not null,
    model                text        not null,
    prompt_version       text        not null,
    source_message_count integer     not null,
    token_usage          json        not null,
    created_at           timestamptz not null default now(),
    expires_at           timestamptz not null,
    constraint a_company_has_one_draft_of_a_period unique (company_id, period_start, period_end),
    constraint a_period_ends_after_it_starts check (period_end > period_start),
    constraint a_draft_names_at_most_20_messages check (cardinality(source_links) <= 20)
);
create index summary_drafts_by_company on summary_drafts (company_id, created_at desc);
"""


def upgrade() -> None:
    run(TABLES)
