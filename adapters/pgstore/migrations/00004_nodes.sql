-- +goose Up

-- What nodes say of themselves, every second: not worth a line of the log of the database, and gone when it crashes.
CREATE UNLOGGED TABLE nodes (
    id   bytea PRIMARY KEY,
    said timestamptz NOT NULL,
    text bytea NOT NULL
);
