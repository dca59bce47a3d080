-- Written so that SQLite and PostgreSQL both accept it.

-- How often something was changed. A change is refused if its revision is not the one that it was planned for.
CREATE TABLE revisions (
    -- settings
    name TEXT PRIMARY KEY,
    revision BIGINT NOT NULL
);

INSERT INTO revisions (name, revision) VALUES ('settings', 0);

-- The oldest version of the tables that a program may know and still use this database. One row.
CREATE TABLE schema_compatibility (
    id BIGINT PRIMARY KEY,
    oldest_version BIGINT NOT NULL
);

INSERT INTO schema_compatibility (id, oldest_version) VALUES (1, 13);
