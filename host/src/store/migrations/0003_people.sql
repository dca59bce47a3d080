-- Who signs in with an email and a password. A user without a row here has keys only.
CREATE TABLE accounts (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    -- In lower case.
    email TEXT NOT NULL UNIQUE,
    -- Argon2id, as a PHC string.
    password TEXT NOT NULL,
    -- Sessions carry it; a higher number ends all that were begun before.
    epoch BIGINT NOT NULL
);

CREATE INDEX keys_of_user ON api_keys (user_id);

-- Sessions that were signed out of before their time was over.
CREATE TABLE ended_sessions (
    id TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE INDEX ended_by_time ON ended_sessions (expires_at);

CREATE TABLE user_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    -- 1 where its members may make pictures.
    makes_pictures BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE group_members (
    group_id TEXT NOT NULL REFERENCES user_groups (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    PRIMARY KEY (group_id, user_id)
);

CREATE INDEX groups_of_user ON group_members (user_id);
