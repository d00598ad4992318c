-- +goose Up

CREATE TABLE accounts (
    id       bytea PRIMARY KEY,
    email    bytea UNIQUE, -- Sealer.Index of the e-mail address
    username bytea UNIQUE, -- and of the folded user name
    sealed   bytea NOT NULL
) WITH (fillfactor = 85);

CREATE TABLE sessions (
    id      bytea PRIMARY KEY,
    user_id bytea NOT NULL,
    created bigint NOT NULL,
    listed  bigint NOT NULL, -- until when it stands in the list of its user's
    expires bigint NOT NULL,
    sealed  bytea NOT NULL
) WITH (fillfactor = 75);
CREATE INDEX sessions_of_user ON sessions (user_id, listed);
CREATE INDEX sessions_expired ON sessions (expires);

CREATE TABLE api_keys (
    id      bytea PRIMARY KEY,
    owner   bytea NOT NULL,
    created bigint NOT NULL,
    kept    bigint NOT NULL,
    sealed  bytea NOT NULL
) WITH (fillfactor = 75);
CREATE INDEX api_keys_of_owner ON api_keys (owner);
CREATE INDEX api_keys_expired ON api_keys (kept);

CREATE TABLE rings (
    name text PRIMARY KEY,
    body bytea NOT NULL
);

CREATE TABLE system (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    body bytea NOT NULL
);
INSERT INTO system (body) VALUES ('');

CREATE TABLE revocations (
    key      bytea PRIMARY KEY, -- revocation.Entry.Key
    reason   smallint NOT NULL,
    asked_by bytea NOT NULL,
    note     bytea NOT NULL, -- sealed, or empty
    at       bigint NOT NULL,
    until    bigint NOT NULL,
    xid      xid8 NOT NULL DEFAULT pg_current_xact_id() -- the transaction that wrote it, for those who follow
);
CREATE INDEX revocations_new ON revocations (xid, key);
CREATE INDEX revocations_expired ON revocations (until);

CREATE SEQUENCE event_batches;
CREATE TABLE events (
    batch    bigint NOT NULL, -- one for all events of a transaction
    place    integer NOT NULL,
    position bigint UNIQUE, -- given once it is committed, by whoever lists next
    id       bytea NOT NULL,
    sealed   bytea NOT NULL,
    PRIMARY KEY (batch, place)
);
CREATE INDEX events_unplaced ON events (batch, place) WHERE position IS NULL;
