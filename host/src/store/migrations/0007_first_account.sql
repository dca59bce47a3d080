-- One row once the server has had an account. Later sign-ups do not become administrators, even if every
-- account is deleted.
CREATE TABLE first_account (
    id BIGINT PRIMARY KEY,
    created_at BIGINT NOT NULL
);

INSERT INTO first_account (id, created_at)
SELECT 1, MIN(users.created_at) FROM accounts JOIN users ON users.id = accounts.user_id
HAVING COUNT(*) > 0;
