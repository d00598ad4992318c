-- +goose Up

CREATE INDEX sessions_in_order ON sessions (user_id, created, id); -- of everybody's, by which pages of them are read
