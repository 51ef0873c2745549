-- The tables of opencode-auth, format 1. `opencode-auth token init` applies this file; applying it again
-- changes nothing. Servers only read: grant them SELECT, and nothing else.
--
--   CREATE ROLE opencode_server LOGIN;
--   GRANT USAGE ON SCHEMA opencode_auth TO opencode_server;
--   GRANT SELECT ON ALL TABLES IN SCHEMA opencode_auth TO opencode_server;
--
-- A role that manages tokens also needs INSERT, UPDATE and DELETE on opencode_auth.tokens, and
-- UPDATE on opencode_auth.realms.

CREATE SCHEMA IF NOT EXISTS opencode_auth;

-- What one server serves is a realm.
CREATE TABLE IF NOT EXISTS opencode_auth.realms (
    realm text PRIMARY KEY CHECK (realm ~ '^[A-Za-z0-9._-]{1,64}$'),
    -- Every change of the realm's tokens adds one. Servers poll it.
    version bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    -- How to read the realm's tokens. A program that does not know the format reports an error.
    format integer NOT NULL DEFAULT 1,
    -- For how long a server may answer from memory, in milliseconds. Servers read it when they start, so
    -- restart them after it was made shorter.
    lease_ms integer NOT NULL DEFAULT 1000 CHECK (lease_ms BETWEEN 100 AND 60000)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM opencode_auth.realms WHERE format <> 1) THEN
        RAISE EXCEPTION 'a realm has a format that this version of opencode-auth does not know';
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS opencode_auth.tokens (
    realm text NOT NULL REFERENCES opencode_auth.realms,
    id text NOT NULL CHECK (id ~ '^[0-9a-f]{12}$'),
    name text CHECK (char_length(name) BETWEEN 1 AND 64),
    -- SHA-256 of the token's text.
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    permissions text[] NOT NULL CHECK (
        cardinality(permissions) > 0 AND permissions <@ ARRAY['read', 'write', 'execute']
    ),
    created_at timestamptz NOT NULL CHECK (isfinite(created_at)),
    -- NULL: the token never expires.
    expires_at timestamptz CHECK (isfinite(expires_at)),
    -- Whether the expiry was given as a date, which a rotation keeps.
    fixed_expiry boolean NOT NULL DEFAULT false,
    PRIMARY KEY (realm, id),
    UNIQUE (realm, name)
);

-- Raises the version in the transaction of the change, also of one that is made in psql. The update locks
-- the realm's row until the commit, so versions are in the order of commits. (A sequence would not be.)
CREATE OR REPLACE FUNCTION opencode_auth.raise_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE opencode_auth.realms SET version = version + 1
        WHERE realm IN (SELECT realm FROM new_rows);
    ELSIF TG_OP = 'UPDATE' THEN
        UPDATE opencode_auth.realms SET version = version + 1
        WHERE realm IN (SELECT realm FROM new_rows UNION SELECT realm FROM old_rows);
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE opencode_auth.realms SET version = version + 1
        WHERE realm IN (SELECT realm FROM old_rows);
    ELSE
        UPDATE opencode_auth.realms SET version = version + 1;
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS raise_version_of_insert ON opencode_auth.tokens;
DROP TRIGGER IF EXISTS raise_version_of_update ON opencode_auth.tokens;
DROP TRIGGER IF EXISTS raise_version_of_delete ON opencode_auth.tokens;
DROP TRIGGER IF EXISTS raise_version_of_truncate ON opencode_auth.tokens;

CREATE TRIGGER raise_version_of_insert AFTER INSERT ON opencode_auth.tokens
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION opencode_auth.raise_version();
CREATE TRIGGER raise_version_of_update AFTER UPDATE ON opencode_auth.tokens
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION opencode_auth.raise_version();
CREATE TRIGGER raise_version_of_delete AFTER DELETE ON opencode_auth.tokens
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION opencode_auth.raise_version();
CREATE TRIGGER raise_version_of_truncate AFTER TRUNCATE ON opencode_auth.tokens
    FOR EACH STATEMENT EXECUTE FUNCTION opencode_auth.raise_version();

-- Replication and restores run with `session_replication_role = replica`, which skips other triggers.
ALTER TABLE opencode_auth.tokens ENABLE ALWAYS TRIGGER raise_version_of_insert;
ALTER TABLE opencode_auth.tokens ENABLE ALWAYS TRIGGER raise_version_of_update;
ALTER TABLE opencode_auth.tokens ENABLE ALWAYS TRIGGER raise_version_of_delete;
ALTER TABLE opencode_auth.tokens ENABLE ALWAYS TRIGGER raise_version_of_truncate;
