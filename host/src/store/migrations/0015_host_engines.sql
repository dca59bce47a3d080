-- Written so that SQLite and PostgreSQL both accept it.

-- The name of a host for people.
ALTER TABLE hosts ADD COLUMN name TEXT NOT NULL DEFAULT '';

-- What each host has loaded of the releases that serve.
CREATE TABLE host_engines (
    host TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    -- Why the host cannot load it; empty if it has.
    problem TEXT NOT NULL,
    PRIMARY KEY (host, digest)
);
