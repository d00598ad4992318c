-- +goose Up

CREATE TABLE trail (
    seq    bigint PRIMARY KEY, -- of the record
    sealed bytea NOT NULL
);

CREATE TABLE trail_head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    body bytea NOT NULL
);
INSERT INTO trail_head (body) VALUES ('');
