"""The tables, as the code before schema versions wrote them: a store of that time is adopted, a new one is made."""

from groundwork.store.migrations.versions import run

revision = "1"
down_revision = None

_TABLES = (
    """
    create table if not exists predictions (
      prediction_id text primary key,
      answered_at text not null,      -- UTC
      role text not null,             -- who answered: champion, canary, shadow, batch or no-model
      entity_key text not null,
      event_time text not null,
      model_version text not null,    -- empty for the no-model rule
      score double precision,         -- null for the no-model rule, and where there is one per class
      decision text not null,
      record text not null,           -- JSON object: the record as it was asked
      class_scores text               -- JSON object: class to score; null unless the outcome is one of several classes
    )
    """,
    "create index if not exists predictions_by_event_time on predictions (event_time)",
    """
    create table if not exists outcomes (
      prediction_id text primary key,
      outcome double precision,       -- 0 or 1 of no or yes, or the quantity; null where it is a class
      received_at text not null,      -- UTC
      outcome_class text              -- the class; null where it is a number
    )
    """,
    """
    create table if not exists shadow (
      measured_at text not null,      -- UTC
      model_version text not null,
      rows_compared integer not null,
      agreement double precision not null
    )
    """,
    """
    create table if not exists flow_runs (
      flow text not null,
      started_at text not null,       -- UTC
      seconds double precision not null,
      succeeded integer not null,     -- 0 or 1
      rows_in integer,
      rows_quarantined integer,
      message text not null
    )
    """,
    """
    create table if not exists schedules (
      flow text primary key,
      since text not null             -- UTC
    )
    """,
    """
    create table if not exists runs_under_way (
      run_id text primary key,        -- Prefect's
      flow text not null,
      started_at text not null,       -- UTC
      heard_at text not null          -- UTC: when its process last said that it lives
    )
    """,
    """
    create table if not exists windows_read (
      window_start text primary key,
      window_end text not null,
      fingerprint text not null,      -- of the source's rows, as they were read
      table_id text not null,         -- the snapshots that they went into
      table_version integer not null  -- the version from which on they are in there
    )
    """,
    """
    create table if not exists drift (
      measured_at text not null,      -- UTC
      window_start text not null,
      window_end text not null,
      model_version text,
      status text not null,
      distances text not null,        -- JSON object: column to distance
      drifted text not null,          -- JSON array of columns
      reason text not null,
      report text
    )
    """,
    """
    create table if not exists proofs (
      check_id text not null,
      proven_at text not null,        -- UTC
      command text not null,
      exit_code integer not null,     -- 0 passed, 1 failed, 2 unknown
      digest text not null,           -- SHA-256 of the evidence
      seconds double precision not null,
      own_data integer not null,      -- 0 if it was shown on the example's data
      on_schedule integer not null,   -- 0 if somebody ran it by hand
      seen text not null
    )
    """,
    """
    create table if not exists promotions (
      model text not null,
      number integer not null,        -- 1, 2, 3, …: who writes n + 1 has seen n
      promoted_at text not null,      -- UTC
      promoted_by text not null,
      from_version text not null,     -- empty for the first
      to_version text not null,
      why text not null,
      evidence_sha256 text not null,  -- of the gate's verdict on to_version; empty if it has none
      bundle_sha256 text not null,    -- of its serving bundle
      primary key (model, number)
    )
    """,
)

# What is in the promotion log stays there. `insert or replace` would delete too, and tell no trigger of it.
_APPEND_ONLY = {
    "sqlite": (
        """
        create trigger if not exists promotions_are_not_updated before update on promotions
        begin select raise(abort, 'the promotion log is append-only'); end
        """,
        """
        create trigger if not exists promotions_are_not_deleted before delete on promotions
        begin select raise(abort, 'the promotion log is append-only'); end
        """,
        """
        create trigger if not exists promotions_are_not_replaced before insert on promotions
        when exists (select 1 from promotions where model = new.model and number = new.number)
        begin select raise(ignore); end
        """,
    ),
    "postgresql": (
        """
        do $$ begin
          if not exists (select from pg_trigger
                         where tgname = 'promotions_are_kept' and tgrelid = 'promotions'::regclass) then
            create or replace function groundwork_append_only() returns trigger language plpgsql as
              'begin raise exception ''the promotion log is append-only''; end';
            create trigger promotions_are_kept before update or delete or truncate on promotions
              for each statement execute function groundwork_append_only();
          end if;
        end $$
        """,
    ),
}

STATEMENTS = {name: (*_TABLES, *statements) for name, statements in _APPEND_ONLY.items()}


def upgrade() -> None:
    run(STATEMENTS)
