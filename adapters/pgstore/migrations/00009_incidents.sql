-- +goose Up

CREATE TABLE incidents (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL, -- of the book, which says it too
    body     bytea NOT NULL -- incident.Casebook, sealed
);
INSERT INTO incidents (revision, body) VALUES (0, '');
