-- What administrators have set while the server ran. It lies over the environment.
CREATE TABLE settings (
    path TEXT PRIMARY KEY,
    -- The environment variables that it stands for, with spaces between them. The first takes the value.
    variables TEXT NOT NULL,
    -- JSON. Where sealed is 1: base64 of a version, a nonce and the value under AES-256-GCM.
    value TEXT NOT NULL,
    sealed BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Who has changed what. A user may be gone, so this refers to nothing.
CREATE TABLE setting_changes (
    id BIGINT PRIMARY KEY,
    changed_at BIGINT NOT NULL,
    -- Empty where the server was started to forget what was set.
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    path TEXT NOT NULL,
    name TEXT NOT NULL,
    -- set, changed or removed.
    what TEXT NOT NULL,
    -- JSON; NULL where there was none, and of secrets.
    old_value TEXT,
    new_value TEXT
);
