-- Several API keys of a user, the sessions that are open, and when each was last used. Times are seconds since 1970.

-- Empty for a key that Open WebUI's clients replace.
ALTER TABLE api_keys ADD COLUMN name TEXT NOT NULL DEFAULT '';
-- The first characters of the key; empty if it is older than this column.
ALTER TABLE api_keys ADD COLUMN prefix TEXT NOT NULL DEFAULT '';
-- NULL if the key does not expire.
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;

-- In tables of their own: a change of `api_keys` or `users` makes the server read all identities again.
CREATE TABLE key_uses (
    hash TEXT PRIMARY KEY REFERENCES api_keys (hash) ON DELETE CASCADE,
    last_used_at BIGINT NOT NULL
);

CREATE TABLE user_uses (
    user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    last_used_at BIGINT NOT NULL
);

-- Sessions for their users to see. A session is valid by its signature, its epoch or key, and `ended_sessions`.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The id of the API key with which it began; empty after a password.
    key_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- NULL if the session does not expire.
    expires_at BIGINT,
    last_used_at BIGINT,
    -- Of the client that began it; may be empty.
    user_agent TEXT NOT NULL,
    ip TEXT NOT NULL
);

CREATE INDEX sessions_of_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
