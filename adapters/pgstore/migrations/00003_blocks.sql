-- +goose Up

CREATE TABLE blocks (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL, -- of the list, which says it too
    body     bytea NOT NULL -- block.List, as it encodes itself
);
INSERT INTO blocks (revision, body) VALUES (0, '');
