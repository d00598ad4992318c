-- +goose Up

CREATE TABLE alerts (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    body bytea NOT NULL -- alert.Book, sealed
);
INSERT INTO alerts (body) VALUES ('');
