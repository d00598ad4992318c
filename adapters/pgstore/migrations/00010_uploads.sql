-- +goose Up

CREATE TABLE uploads (
    id      bytea PRIMARY KEY,
    owner   bytea NOT NULL,
    created bigint NOT NULL,
    sealed  bytea NOT NULL -- upload.File
);
CREATE INDEX uploads_of_owner ON uploads (owner);
