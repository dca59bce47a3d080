-- What the migrations of SQLite create up to this version, for PostgreSQL. The columns are those of SQLite, and
-- its migrations describe them. Texts are compared byte by byte, as SQLite does: COLLATE "C".

CREATE TABLE users (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE accounts (
    user_id TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id),
    email TEXT COLLATE "C" NOT NULL UNIQUE,
    password TEXT COLLATE "C" NOT NULL,
    epoch BIGINT NOT NULL
);

CREATE TABLE api_keys (
    hash TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL DEFAULT '',
    prefix TEXT COLLATE "C" NOT NULL DEFAULT '',
    expires_at BIGINT
);
CREATE INDEX keys_of_user ON api_keys (user_id);

CREATE TABLE key_uses (
    hash TEXT COLLATE "C" PRIMARY KEY REFERENCES api_keys (hash) ON DELETE CASCADE,
    last_used_at BIGINT NOT NULL
);

CREATE TABLE user_uses (
    user_id TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    last_used_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key_id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    user_agent TEXT COLLATE "C" NOT NULL,
    ip TEXT COLLATE "C" NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (user_id, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE ended_sessions (
    id TEXT COLLATE "C" PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX ended_by_time ON ended_sessions (expires_at);

CREATE TABLE first_account (
    id BIGINT PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE user_groups (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    makes_pictures BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE group_members (
    group_id TEXT COLLATE "C" NOT NULL REFERENCES user_groups (id),
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX groups_of_user ON group_members (user_id);

CREATE TABLE user_settings (
    user_id TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    settings TEXT COLLATE "C" NOT NULL
);

CREATE TABLE settings (
    path TEXT COLLATE "C" PRIMARY KEY,
    variables TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    sealed BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE setting_changes (
    id BIGINT PRIMARY KEY,
    changed_at BIGINT NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    old_value TEXT COLLATE "C",
    new_value TEXT COLLATE "C"
);

CREATE TABLE instance (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE files (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    name TEXT COLLATE "C" NOT NULL,
    media_type TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    meta TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL DEFAULT '',
    width BIGINT,
    height BIGINT,
    is_generated BIGINT NOT NULL DEFAULT 0,
    is_starred BIGINT NOT NULL DEFAULT 0,
    binding TEXT COLLATE "C" NOT NULL DEFAULT '',
    engine TEXT COLLATE "C" NOT NULL DEFAULT '',
    model TEXT COLLATE "C" NOT NULL DEFAULT '',
    chat_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    search_text TEXT COLLATE "C" NOT NULL DEFAULT '',
    deleted_at BIGINT,
    use_before BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX files_by_age ON files (created_at);
CREATE INDEX files_of_user ON files (user_id);
CREATE INDEX gallery ON files (user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX deleted_files ON files (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE chats (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    title TEXT COLLATE "C" NOT NULL,
    current_id TEXT COLLATE "C",
    rest TEXT COLLATE "C" NOT NULL,
    archived BIGINT NOT NULL,
    pinned BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX chats_of_user ON chats (user_id, updated_at);

CREATE TABLE messages (
    chat_id TEXT COLLATE "C" NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    parent_id TEXT COLLATE "C",
    role TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    content TEXT COLLATE "C" NOT NULL,
    rest TEXT COLLATE "C" NOT NULL,
    seen BIGINT NOT NULL,
    PRIMARY KEY (chat_id, id)
);

CREATE TABLE message_statuses (
    chat_id TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (chat_id, message_id, position),
    FOREIGN KEY (chat_id, message_id) REFERENCES messages (chat_id, id) ON DELETE CASCADE
);

CREATE TABLE message_files (
    chat_id TEXT COLLATE "C" NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    message_id TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    file_id TEXT COLLATE "C" REFERENCES files (id) ON DELETE CASCADE,
    entry TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (chat_id, message_id, position)
);
CREATE INDEX message_files_by_file ON message_files (file_id);

CREATE TABLE running_turns (
    chat_id TEXT COLLATE "C" NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    message_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (chat_id, message_id)
);

CREATE TABLE jobs (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    origin TEXT COLLATE "C" NOT NULL,
    chat_id TEXT COLLATE "C",
    message_id TEXT COLLATE "C",
    operation TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    request TEXT COLLATE "C",
    binding TEXT COLLATE "C" NOT NULL,
    engine TEXT COLLATE "C" NOT NULL,
    engine_version TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    ordered BIGINT NOT NULL,
    result TEXT COLLATE "C" NOT NULL,
    error TEXT COLLATE "C",
    idempotency_key TEXT COLLATE "C",
    request_hash TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    duration_ms BIGINT
);
CREATE INDEX jobs_of_user ON jobs (user_id, id);
CREATE INDEX active_jobs ON jobs (id) WHERE ended_at IS NULL;
CREATE INDEX ended_jobs ON jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_key ON jobs (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE engine_releases (
    digest TEXT COLLATE "C" PRIMARY KEY,
    engine TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    file TEXT COLLATE "C" NOT NULL,
    declared TEXT COLLATE "C" NOT NULL,
    granted TEXT COLLATE "C" NOT NULL,
    replaces TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    added_by TEXT COLLATE "C" NOT NULL,
    added_at BIGINT NOT NULL
);
CREATE INDEX engine_releases_engine ON engine_releases (engine, added_at);

CREATE TABLE engine_tracks (
    engine TEXT COLLATE "C" PRIMARY KEY,
    current TEXT COLLATE "C" NOT NULL,
    previous TEXT COLLATE "C",
    candidate TEXT COLLATE "C",
    percent BIGINT NOT NULL,
    strategy TEXT COLLATE "C" NOT NULL,
    pinned BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE engine_grants (
    engine TEXT COLLATE "C" PRIMARY KEY,
    allows TEXT COLLATE "C" NOT NULL,
    denies TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    file TEXT COLLATE "C" NOT NULL
);

CREATE TABLE engine_files (
    file TEXT COLLATE "C" PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL
);

CREATE TABLE engine_results (
    digest TEXT COLLATE "C" NOT NULL,
    minute BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    jobs BIGINT NOT NULL,
    own_ms BIGINT NOT NULL,
    PRIMARY KEY (digest, minute, outcome)
);

CREATE TABLE engine_history (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    engine TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    why TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL
);
CREATE INDEX engine_history_engine ON engine_history (engine, id);

CREATE TABLE user_storage (
    number BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    file_bytes BIGINT NOT NULL DEFAULT 0,
    chat_bytes BIGINT NOT NULL DEFAULT 0,
    next_search_row BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE search_rows (
    id BIGINT PRIMARY KEY,
    chat_id TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    is_stale BIGINT NOT NULL,
    UNIQUE (chat_id, message_id)
);
CREATE INDEX stale_search_rows ON search_rows (id) WHERE is_stale = 1;

-- The texts of the rows that are not stale, in lower case. SQLite has a virtual table of this name.
CREATE TABLE search_index (
    rowid BIGINT PRIMARY KEY REFERENCES search_rows (id) ON DELETE CASCADE,
    text TEXT COLLATE "C" NOT NULL
);

-- The index of trigrams needs an extension that the server may lack or forbid. Searches then compare all texts of
-- their user.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX search_index_trigrams ON search_index USING gin (text gin_trgm_ops);
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$;

-- The space that each user occupies, and the texts that can be searched. Triggers of statements, because a row that is
-- updated for each of many rows would have as many versions.

CREATE FUNCTION files_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO user_storage (user_id)
        SELECT DISTINCT added.user_id FROM added
        WHERE NOT EXISTS (SELECT 1 FROM user_storage WHERE user_storage.user_id = added.user_id)
        ON CONFLICT (user_id) DO NOTHING;
    UPDATE user_storage SET file_bytes = file_bytes + sums.bytes
        FROM (SELECT user_id, CAST(SUM(size_bytes) AS BIGINT) AS bytes FROM added GROUP BY user_id) AS sums
        WHERE user_storage.user_id = sums.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER files_added AFTER INSERT ON files REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION files_added();

-- A deleted file does not count.
CREATE FUNCTION files_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE user_storage SET file_bytes = file_bytes - sums.bytes
        FROM (SELECT user_id, CAST(SUM(size_bytes) AS BIGINT) AS bytes FROM removed
            WHERE deleted_at IS NULL GROUP BY user_id) AS sums
        WHERE user_storage.user_id = sums.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER files_removed AFTER DELETE ON files REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION files_removed();

CREATE FUNCTION files_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE user_storage SET file_bytes = file_bytes + sums.bytes
        FROM (SELECT user_id, CAST(SUM(CASE WHEN after.deleted_at IS NULL THEN size_bytes ELSE -size_bytes END)
                AS BIGINT) AS bytes
            FROM (SELECT id, deleted_at FROM before) AS before
            JOIN after ON after.id = before.id
            WHERE (before.deleted_at IS NULL) <> (after.deleted_at IS NULL) GROUP BY user_id) AS sums
        WHERE user_storage.user_id = sums.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER files_changed AFTER UPDATE ON files REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION files_changed();

CREATE FUNCTION chat_measured() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.bytes := NEW.bytes + OCTET_LENGTH(NEW.title) + OCTET_LENGTH(NEW.rest);
    IF TG_OP = 'UPDATE' THEN
        NEW.bytes := NEW.bytes - OCTET_LENGTH(OLD.title) - OCTET_LENGTH(OLD.rest);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chat_measured BEFORE INSERT OR UPDATE OF title, rest ON chats FOR EACH ROW
    EXECUTE FUNCTION chat_measured();

-- The newest text of a user has the highest id.
CREATE FUNCTION chat_added() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    new_id BIGINT;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM user_storage WHERE user_id = NEW.user_id) THEN
        INSERT INTO user_storage (user_id) VALUES (NEW.user_id) ON CONFLICT (user_id) DO NOTHING;
    END IF;
    UPDATE user_storage SET chat_bytes = chat_bytes + NEW.bytes, next_search_row = next_search_row + 1
        WHERE user_id = NEW.user_id RETURNING number * 4294967296 + next_search_row - 1 INTO new_id;
    INSERT INTO search_rows (id, chat_id, message_id, is_stale) VALUES (new_id, NEW.id, '', 1);
    RETURN NULL;
END $$;
CREATE TRIGGER chat_added AFTER INSERT ON chats FOR EACH ROW EXECUTE FUNCTION chat_added();

CREATE FUNCTION chat_resized() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE user_storage SET chat_bytes = chat_bytes + NEW.bytes - OLD.bytes WHERE user_id = NEW.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER chat_resized AFTER UPDATE ON chats FOR EACH ROW
    WHEN (NEW.bytes <> OLD.bytes) EXECUTE FUNCTION chat_resized();

-- The row first: a transaction that indexes the old text has locked it.
CREATE FUNCTION title_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE search_rows SET is_stale = 1 WHERE chat_id = NEW.id AND message_id = '';
    DELETE FROM search_index USING search_rows
        WHERE search_index.rowid = search_rows.id AND chat_id = NEW.id AND message_id = '';
    RETURN NULL;
END $$;
CREATE TRIGGER title_changed AFTER UPDATE OF title ON chats FOR EACH ROW
    WHEN (NEW.title <> OLD.title) EXECUTE FUNCTION title_changed();

CREATE FUNCTION chat_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE user_storage SET chat_bytes = chat_bytes - OLD.bytes WHERE user_id = OLD.user_id;
    DELETE FROM search_rows WHERE chat_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER chat_removed AFTER DELETE ON chats FOR EACH ROW EXECUTE FUNCTION chat_removed();

-- The chats first, which locks the row of their owner's storage.
CREATE FUNCTION messages_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chats SET bytes = chats.bytes + sums.bytes
        FROM (SELECT chat_id, CAST(SUM(OCTET_LENGTH(content) + OCTET_LENGTH(rest)) AS BIGINT) AS bytes
            FROM added GROUP BY chat_id) AS sums
        WHERE chats.id = sums.chat_id;
    INSERT INTO search_rows (id, chat_id, message_id, is_stale)
        SELECT number * 4294967296 + next_search_row + ROW_NUMBER() OVER (
                PARTITION BY number ORDER BY added.chat_id, added.position, added.id) - 1,
            added.chat_id, added.id, 1
        FROM added JOIN chats ON chats.id = added.chat_id
        JOIN user_storage ON user_storage.user_id = chats.user_id;
    UPDATE user_storage SET next_search_row = next_search_row + counts.rows
        FROM (SELECT user_id, COUNT(*) AS rows FROM added JOIN chats ON chats.id = added.chat_id
            GROUP BY user_id) AS counts
        WHERE user_storage.user_id = counts.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_added AFTER INSERT ON messages REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION messages_added();

CREATE FUNCTION messages_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chats SET bytes = chats.bytes + sums.bytes
        FROM (SELECT chat_id, CAST(SUM(OCTET_LENGTH(after.content) + OCTET_LENGTH(after.rest)
                - OCTET_LENGTH(before.content) - OCTET_LENGTH(before.rest)) AS BIGINT) AS bytes
            FROM before JOIN after USING (chat_id, id) GROUP BY chat_id) AS sums
        WHERE chats.id = sums.chat_id AND sums.bytes <> 0;
    UPDATE search_rows SET is_stale = 1
        FROM before JOIN after USING (chat_id, id)
        WHERE search_rows.chat_id = after.chat_id AND search_rows.message_id = after.id
            AND before.content <> after.content;
    DELETE FROM search_index USING search_rows, before JOIN after USING (chat_id, id)
        WHERE search_index.rowid = search_rows.id
            AND search_rows.chat_id = after.chat_id AND search_rows.message_id = after.id
            AND before.content <> after.content;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_changed AFTER UPDATE ON messages REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION messages_changed();

-- The chat may be gone already.
CREATE FUNCTION messages_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chats SET bytes = chats.bytes - sums.bytes
        FROM (SELECT chat_id, CAST(SUM(OCTET_LENGTH(content) + OCTET_LENGTH(rest)) AS BIGINT) AS bytes
            FROM removed GROUP BY chat_id) AS sums
        WHERE chats.id = sums.chat_id;
    DELETE FROM search_rows USING removed
        WHERE search_rows.chat_id = removed.chat_id AND search_rows.message_id = removed.id;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_removed AFTER DELETE ON messages REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION messages_removed();

CREATE FUNCTION message_files_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chats SET bytes = chats.bytes + sums.bytes
        FROM (SELECT chat_id, CAST(SUM(OCTET_LENGTH(entry)) AS BIGINT) AS bytes FROM added GROUP BY chat_id) AS sums
        WHERE chats.id = sums.chat_id;
    RETURN NULL;
END $$;
CREATE TRIGGER message_files_added AFTER INSERT ON message_files REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION message_files_added();

CREATE FUNCTION message_files_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chats SET bytes = chats.bytes - sums.bytes
        FROM (SELECT chat_id, CAST(SUM(OCTET_LENGTH(entry)) AS BIGINT) AS bytes FROM removed GROUP BY chat_id) AS sums
        WHERE chats.id = sums.chat_id;
    RETURN NULL;
END $$;
CREATE TRIGGER message_files_removed AFTER DELETE ON message_files REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION message_files_removed();
