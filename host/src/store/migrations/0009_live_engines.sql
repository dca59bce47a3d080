-- Versions of engines, which of them serve, and what they may do.

-- A component that was installed.
CREATE TABLE engine_releases (
    -- SHA-256 of the component in hexadecimal. Its bytes are in the directory `components`.
    digest TEXT PRIMARY KEY,
    engine TEXT NOT NULL,
    version TEXT NOT NULL,
    -- The name of its file in the engine directory; empty if it was uploaded.
    file TEXT NOT NULL,
    -- The rights that it declares, and those that were granted to it: JSON arrays.
    declared TEXT NOT NULL,
    granted TEXT NOT NULL,
    -- The engine that the same file was before; empty if it has not changed its name.
    replaces TEXT NOT NULL,
    -- parked, candidate, current, retired or rolled-back
    state TEXT NOT NULL,
    -- Why it has this state; may be empty.
    reason TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    -- The name of the user or command that installed it.
    added_by TEXT NOT NULL,
    -- Seconds since 1970.
    added_at INTEGER NOT NULL
);
CREATE INDEX engine_releases_engine ON engine_releases (engine, added_at);

-- What an engine's name points to.
CREATE TABLE engine_tracks (
    engine TEXT PRIMARY KEY,
    -- Digests.
    current TEXT NOT NULL,
    previous TEXT,
    candidate TEXT,
    -- The share of users who get the candidate.
    percent INTEGER NOT NULL,
    -- watch or canary
    strategy TEXT NOT NULL,
    pinned INTEGER NOT NULL,
    -- Increases with each change.
    revision INTEGER NOT NULL,
    -- Seconds since 1970.
    changed_at INTEGER NOT NULL
);

-- What an administrator allowed an engine.
CREATE TABLE engine_grants (
    engine TEXT PRIMARY KEY,
    -- JSON arrays of rights.
    allows TEXT NOT NULL,
    denies TEXT NOT NULL,
    -- The component that it was given to.
    digest TEXT NOT NULL,
    file TEXT NOT NULL
);

-- The files of the engine directory about which the server has decided.
CREATE TABLE engine_files (
    file TEXT PRIMARY KEY,
    digest TEXT NOT NULL
);

-- Finished jobs that say something about a version, by minute.
CREATE TABLE engine_results (
    digest TEXT NOT NULL,
    -- Minutes since 1970.
    minute INTEGER NOT NULL,
    -- ok, crash, own or upstream
    outcome TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    -- Their CPU time in milliseconds.
    own_ms INTEGER NOT NULL,
    PRIMARY KEY (digest, minute, outcome)
);

-- What happened to engines. Rows are only added; the oldest are deleted.
CREATE TABLE engine_history (
    id INTEGER PRIMARY KEY,
    -- Seconds since 1970.
    at INTEGER NOT NULL,
    engine TEXT NOT NULL,
    digest TEXT NOT NULL,
    what TEXT NOT NULL,
    why TEXT NOT NULL,
    user_name TEXT NOT NULL
);
CREATE INDEX engine_history_engine ON engine_history (engine, id);
