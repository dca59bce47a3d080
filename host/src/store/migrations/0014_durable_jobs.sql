-- Written so that SQLite and PostgreSQL both accept it.

-- Jobs that another process continues if theirs ends. Times are seconds since 1970, of the database's clock.

-- How often the job was taken. Each write for the job names it, so a process that lost the job changes nothing.
ALTER TABLE jobs ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1;
-- The host that runs the job; NULL if no other one continues it.
ALTER TABLE jobs ADD COLUMN host TEXT;
-- Until when the job is the host's; 0 if the host handed it over.
ALTER TABLE jobs ADD COLUMN leased_until BIGINT NOT NULL DEFAULT 0;
-- How many processes ended while the engine worked on the job.
ALTER TABLE jobs ADD COLUMN crashes BIGINT NOT NULL DEFAULT 0;
-- What the engine stored with the job.
ALTER TABLE jobs ADD COLUMN remembered TEXT;
-- JSON: what continues the job, in addition to its request; NULL if it cannot be done again.
ALTER TABLE jobs ADD COLUMN continuation TEXT;
-- 1 if a user stopped the job while another host ran it.
ALTER TABLE jobs ADD COLUMN stop_requested BIGINT NOT NULL DEFAULT 0;

CREATE INDEX leased_jobs ON jobs (leased_until) WHERE ended_at IS NULL AND host IS NOT NULL;

-- The host that runs a turn; NULL without durable jobs.
ALTER TABLE running_turns ADD COLUMN host TEXT;

-- The processes that use the database.
CREATE TABLE hosts (
    id TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

-- What only one host does at a time.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    leased_until BIGINT NOT NULL
);
