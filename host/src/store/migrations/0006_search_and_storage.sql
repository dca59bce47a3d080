-- For SQLite alone: FTS5 and triggers. PostgreSQL has another version.

-- The space that each user occupies, and the range of the user's rows in the search index.
CREATE TABLE user_storage (
    -- The upper half of the ids of the user's search rows.
    number INTEGER PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    -- Length of the bytes of the user's files.
    file_bytes BIGINT NOT NULL DEFAULT 0,
    -- Length of the user's chats with their messages.
    chat_bytes BIGINT NOT NULL DEFAULT 0,
    -- The lower half of the next id.
    next_search_row BIGINT NOT NULL DEFAULT 0
);

-- Length of the chat with its messages.
ALTER TABLE chats ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;

-- A text that can be searched: a message, or the title of a chat, whose message_id is empty.
CREATE TABLE search_rows (
    -- The rowid of the index. The newest text of a user has the highest.
    id INTEGER PRIMARY KEY,
    chat_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    -- 1 while the index lacks the text.
    is_stale BIGINT NOT NULL,
    UNIQUE (chat_id, message_id)
);

CREATE INDEX stale_search_rows ON search_rows (id) WHERE is_stale = 1;

-- Contains no text, only where each trigram occurs.
CREATE VIRTUAL TABLE search_index USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'trigram'
);

-- A random id, which the data directory has too, and the time of the last sweep of files.
CREATE TABLE instance (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Turns that run in the background. A row that a process leaves behind is that of an interrupted turn.
CREATE TABLE running_turns (
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL,
    PRIMARY KEY (chat_id, message_id)
);

-- What exists already.
INSERT INTO user_storage (user_id, file_bytes)
    SELECT id, (SELECT COALESCE(SUM(size_bytes), 0) FROM files WHERE files.user_id = users.id)
    FROM users;

UPDATE chats SET bytes = OCTET_LENGTH(title) + OCTET_LENGTH(rest)
    + (SELECT COALESCE(SUM(OCTET_LENGTH(content) + OCTET_LENGTH(rest)), 0) FROM messages
        WHERE chat_id = chats.id)
    + (SELECT COALESCE(SUM(OCTET_LENGTH(entry)), 0) FROM message_files
        WHERE chat_id = chats.id);

UPDATE user_storage SET chat_bytes =
    (SELECT COALESCE(SUM(bytes), 0) FROM chats WHERE chats.user_id = user_storage.user_id);

INSERT INTO search_rows (id, chat_id, message_id, is_stale)
    SELECT number * 4294967296 + ROW_NUMBER() OVER (
            PARTITION BY number ORDER BY texts.updated_at, texts.chat_id, texts.position) - 1,
        texts.chat_id, texts.message_id, 1
    FROM (
        SELECT user_id, id AS chat_id, '' AS message_id, updated_at, -1 AS position FROM chats
        UNION ALL
        SELECT user_id, chats.id, messages.id, updated_at, messages.position
        FROM messages JOIN chats ON chats.id = messages.chat_id
    ) AS texts JOIN user_storage ON user_storage.user_id = texts.user_id;

UPDATE user_storage SET next_search_row = (SELECT COUNT(*) FROM search_rows
    WHERE id >= number * 4294967296 AND id < (number + 1) * 4294967296);

CREATE TRIGGER file_added AFTER INSERT ON files BEGIN
    INSERT INTO user_storage (user_id) VALUES (NEW.user_id) ON CONFLICT (user_id) DO NOTHING;
    UPDATE user_storage SET file_bytes = file_bytes + NEW.size_bytes WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN
    UPDATE user_storage SET file_bytes = file_bytes - OLD.size_bytes WHERE user_id = OLD.user_id;
END;

CREATE TRIGGER chat_added AFTER INSERT ON chats BEGIN
    INSERT INTO user_storage (user_id) VALUES (NEW.user_id) ON CONFLICT (user_id) DO NOTHING;
    UPDATE chats SET bytes = OCTET_LENGTH(NEW.title) + OCTET_LENGTH(NEW.rest) WHERE id = NEW.id;
    INSERT INTO search_rows (id, chat_id, message_id, is_stale)
        SELECT number * 4294967296 + next_search_row, NEW.id, '', 1 FROM user_storage
        WHERE user_id = NEW.user_id;
    UPDATE user_storage SET next_search_row = next_search_row + 1 WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER chat_changed AFTER UPDATE OF title, rest ON chats BEGIN
    UPDATE chats SET bytes = bytes + OCTET_LENGTH(NEW.title) + OCTET_LENGTH(NEW.rest)
        - OCTET_LENGTH(OLD.title) - OCTET_LENGTH(OLD.rest)
        WHERE id = NEW.id;
END;

CREATE TRIGGER title_changed AFTER UPDATE OF title ON chats WHEN NEW.title <> OLD.title BEGIN
    DELETE FROM search_index WHERE rowid =
        (SELECT id FROM search_rows WHERE chat_id = NEW.id AND message_id = '' AND is_stale = 0);
    UPDATE search_rows SET is_stale = 1 WHERE chat_id = NEW.id AND message_id = '';
END;

CREATE TRIGGER chat_resized AFTER UPDATE OF bytes ON chats BEGIN
    UPDATE user_storage SET chat_bytes = chat_bytes + NEW.bytes - OLD.bytes
        WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER chat_removed AFTER DELETE ON chats BEGIN
    UPDATE user_storage SET chat_bytes = chat_bytes - OLD.bytes WHERE user_id = OLD.user_id;
    DELETE FROM search_index WHERE rowid =
        (SELECT id FROM search_rows WHERE chat_id = OLD.id AND message_id = '' AND is_stale = 0);
    DELETE FROM search_rows WHERE chat_id = OLD.id AND message_id = '';
END;

CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
    UPDATE chats SET bytes = bytes + OCTET_LENGTH(NEW.content) + OCTET_LENGTH(NEW.rest)
        WHERE id = NEW.chat_id;
    INSERT INTO search_rows (id, chat_id, message_id, is_stale)
        SELECT number * 4294967296 + next_search_row, NEW.chat_id, NEW.id, 1
        FROM chats JOIN user_storage ON user_storage.user_id = chats.user_id
        WHERE chats.id = NEW.chat_id;
    UPDATE user_storage SET next_search_row = next_search_row + 1
        WHERE user_id = (SELECT user_id FROM chats WHERE id = NEW.chat_id);
END;

CREATE TRIGGER message_resized AFTER UPDATE OF content, rest ON messages BEGIN
    UPDATE chats SET bytes = bytes + OCTET_LENGTH(NEW.content) + OCTET_LENGTH(NEW.rest)
        - OCTET_LENGTH(OLD.content) - OCTET_LENGTH(OLD.rest)
        WHERE id = NEW.chat_id;
END;

CREATE TRIGGER message_changed AFTER UPDATE OF content ON messages
WHEN NEW.content <> OLD.content BEGIN
    DELETE FROM search_index WHERE rowid = (SELECT id FROM search_rows
        WHERE chat_id = NEW.chat_id AND message_id = NEW.id AND is_stale = 0);
    UPDATE search_rows SET is_stale = 1 WHERE chat_id = NEW.chat_id AND message_id = NEW.id;
END;

-- The chat may be gone already.
CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
    UPDATE chats SET bytes = bytes - OCTET_LENGTH(OLD.content) - OCTET_LENGTH(OLD.rest)
        WHERE id = OLD.chat_id;
    DELETE FROM search_index WHERE rowid = (SELECT id FROM search_rows
        WHERE chat_id = OLD.chat_id AND message_id = OLD.id AND is_stale = 0);
    DELETE FROM search_rows WHERE chat_id = OLD.chat_id AND message_id = OLD.id;
END;

CREATE TRIGGER message_file_added AFTER INSERT ON message_files BEGIN
    UPDATE chats SET bytes = bytes + OCTET_LENGTH(NEW.entry) WHERE id = NEW.chat_id;
END;

CREATE TRIGGER message_file_removed AFTER DELETE ON message_files BEGIN
    UPDATE chats SET bytes = bytes - OCTET_LENGTH(OLD.entry) WHERE id = OLD.chat_id;
END;
