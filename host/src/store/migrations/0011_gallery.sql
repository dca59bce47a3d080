-- For SQLite alone: triggers and JSON functions. PostgreSQL has another version.

-- In pixels, as viewers show the image. NULL if unknown, as in files from before this version.
ALTER TABLE files ADD COLUMN width BIGINT;
ALTER TABLE files ADD COLUMN height BIGINT;
-- 1 if a job made the image, 0 if it was uploaded.
ALTER TABLE files ADD COLUMN is_generated BIGINT NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN is_starred BIGINT NOT NULL DEFAULT 0;
-- What made the image. Empty for uploads.
ALTER TABLE files ADD COLUMN binding TEXT NOT NULL DEFAULT '';
ALTER TABLE files ADD COLUMN engine TEXT NOT NULL DEFAULT '';
ALTER TABLE files ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE files ADD COLUMN chat_id TEXT NOT NULL DEFAULT '';
-- The beginning of the name and the prompt, in lower case.
ALTER TABLE files ADD COLUMN search_text TEXT NOT NULL DEFAULT '';
-- When the owner deleted the file, in seconds since 1970. Only a restore finds it from then on.
ALTER TABLE files ADD COLUMN deleted_at BIGINT;
-- What the owner may occupy after a restore, if it exceeds the quota: what they occupied before, in bytes.
ALTER TABLE files ADD COLUMN use_before BIGINT NOT NULL DEFAULT 0;

-- What exists already. Only the server names a file so and stores the name of a job with it.
UPDATE files SET is_generated = 1,
    binding = COALESCE(CAST(json_extract(meta, '$.binding') AS TEXT), ''),
    engine = COALESCE(CAST(json_extract(meta, '$.engine') AS TEXT), ''),
    model = COALESCE(SUBSTR(CAST(json_extract(meta, '$.details.model') AS TEXT), 1, 512), ''),
    chat_id = COALESCE(CAST(json_extract(meta, '$.chat_id') AS TEXT), '')
    WHERE name LIKE 'generated-image.%'
    AND CASE WHEN json_valid(meta) THEN json_type(meta, '$.job') = 'text' ELSE 0 END;

UPDATE files SET search_text = LOWER(SUBSTR(name || CHAR(10) || CASE is_generated
    WHEN 1 THEN COALESCE(CAST(json_extract(meta, '$.prompt') AS TEXT), '') ELSE '' END, 1, 1000));

-- A deleted file does not count.
DROP TRIGGER file_removed;

CREATE TRIGGER file_removed AFTER DELETE ON files WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE user_storage SET file_bytes = file_bytes - OLD.size_bytes WHERE user_id = OLD.user_id;
END;

CREATE TRIGGER file_deleted AFTER UPDATE OF deleted_at ON files
WHEN OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL BEGIN
    UPDATE user_storage SET file_bytes = file_bytes - NEW.size_bytes WHERE user_id = NEW.user_id;
END;

CREATE TRIGGER file_restored AFTER UPDATE OF deleted_at ON files
WHEN OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL BEGIN
    UPDATE user_storage SET file_bytes = file_bytes + NEW.size_bytes WHERE user_id = NEW.user_id;
END;

-- Has every column that a gallery filters by, so that a search reads no page of the table.
CREATE INDEX gallery ON files (user_id, deleted_at, created_at, id, is_generated, is_starred,
    binding, engine, model, chat_id, search_text);

DROP INDEX files_of_user;

CREATE INDEX deleted_files ON files (deleted_at) WHERE deleted_at IS NOT NULL;
