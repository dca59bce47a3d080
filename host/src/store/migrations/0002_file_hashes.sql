-- SHA-256 of the bytes, in hexadecimal; empty for files kept before it was noted.
ALTER TABLE files ADD COLUMN hash TEXT NOT NULL DEFAULT '';

CREATE INDEX files_by_age ON files (created_at);
