-- Written so that SQLite and PostgreSQL both accept it. Times are seconds since 1970.

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    -- SHA-256 of the key, in hexadecimal. The key itself is random, so no slow hash is needed.
    hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL
);

CREATE TABLE files (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    -- JSON: job, engine, chat and message that it belongs to.
    meta TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX files_of_user ON files (user_id, created_at);
