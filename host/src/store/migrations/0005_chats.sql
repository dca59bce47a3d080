CREATE TABLE chats (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    title TEXT NOT NULL,
    -- The message that clients show; the end of one of the chat's branches.
    current_id TEXT,
    -- JSON object: what clients keep with a chat besides.
    rest TEXT NOT NULL,
    archived BIGINT NOT NULL,
    pinned BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX chats_of_user ON chats (user_id, updated_at);

CREATE TABLE messages (
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    -- Named by clients: it may be missing, or lead in a circle.
    parent_id TEXT,
    role TEXT NOT NULL,
    -- The order in which clients came to know them.
    position BIGINT NOT NULL,
    -- JSON: a text or a list of parts.
    content TEXT NOT NULL,
    -- JSON object: what clients keep with a message besides.
    rest TEXT NOT NULL,
    -- 1 once a client's copy had it, so that a copy without it means that it is to go.
    seen BIGINT NOT NULL,
    PRIMARY KEY (chat_id, id)
);

CREATE TABLE message_statuses (
    chat_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    -- JSON.
    status TEXT NOT NULL,
    PRIMARY KEY (chat_id, message_id, position),
    FOREIGN KEY (chat_id, message_id) REFERENCES messages (chat_id, id) ON DELETE CASCADE
);

-- Of the chat and not of the message: pictures of a message that is removed go with the chat.
CREATE TABLE message_files (
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    message_id TEXT NOT NULL,
    -- Below zero for what was made here, the newest first; then what clients attached.
    position BIGINT NOT NULL,
    -- The file behind the entry, where it is the chat owner's.
    file_id TEXT REFERENCES files (id) ON DELETE CASCADE,
    -- JSON: as it stands in the message.
    entry TEXT NOT NULL,
    PRIMARY KEY (chat_id, message_id, position)
);

CREATE INDEX message_files_by_file ON message_files (file_id);
