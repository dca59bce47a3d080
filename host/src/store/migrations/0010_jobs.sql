-- Jobs of the jobs API and of chats, while they run and after they have ended.

CREATE TABLE jobs (
    -- Ascends with the time of its creation.
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- api or chat
    origin TEXT NOT NULL,
    -- The chat and message of an image in a chat.
    chat_id TEXT,
    message_id TEXT,
    -- generate or edit
    operation TEXT NOT NULL,
    -- waiting, running, done, failed, cancelled or interrupted
    state TEXT NOT NULL,
    -- JSON without image bytes; null for temporary chats.
    request TEXT,
    binding TEXT NOT NULL,
    engine TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    -- SHA-256 of the engine's component, in hexadecimal.
    digest TEXT NOT NULL,
    -- 1 if an upstream may have started to generate.
    ordered BIGINT NOT NULL,
    -- JSON: the files and what the engine says about them.
    result TEXT NOT NULL,
    -- JSON; null if it has not failed.
    error TEXT,
    -- A repeated request with the same key gets this job.
    idempotency_key TEXT,
    -- SHA-256 of the body of the request with the key, in hexadecimal.
    request_hash TEXT,
    -- Seconds since 1970.
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    duration_ms BIGINT
);

CREATE INDEX jobs_of_user ON jobs (user_id, id);
CREATE INDEX active_jobs ON jobs (id) WHERE ended_at IS NULL;
CREATE INDEX ended_jobs ON jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_key ON jobs (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
