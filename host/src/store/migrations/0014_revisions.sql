-- How often the settings, the engines and the identities have changed. Several hosts compare these numbers with those of
-- what they have loaded.
CREATE TABLE revisions (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
