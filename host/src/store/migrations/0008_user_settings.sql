-- Settings of users that only their clients understand.
CREATE TABLE user_settings (
    user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- JSON object.
    settings TEXT NOT NULL
);
