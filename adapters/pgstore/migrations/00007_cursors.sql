-- +goose Up

CREATE TABLE cursors (
    name     text PRIMARY KEY,
    revision bigint NOT NULL,
    position bigint NOT NULL,
    holder   text NOT NULL,
    tries    bigint NOT NULL,
    again    bigint NOT NULL,
    state    bytea NOT NULL
) WITH (fillfactor = 50);
