-- name: AddAccount :exec
INSERT INTO accounts (id, email, username, sealed) VALUES (sqlc.arg(id), sqlc.arg(email), sqlc.arg(username), sqlc.arg(sealed));

-- name: LockAccount :one
SELECT sealed FROM accounts WHERE id = sqlc.arg(id) FOR UPDATE;

-- name: SetAccount :exec
UPDATE accounts SET email = sqlc.arg(email), username = sqlc.arg(username), sealed = sqlc.arg(sealed) WHERE id = sqlc.arg(id);

-- name: FindAccount :one
SELECT sealed FROM accounts WHERE id = sqlc.arg(id);

-- name: FindAccountByEmail :one
SELECT id, sealed FROM accounts WHERE email = sqlc.arg(email);

-- name: FindAccountByUsername :one
SELECT id, sealed FROM accounts WHERE username = sqlc.arg(username);

-- name: ListAccounts :many
SELECT id, sealed FROM accounts WHERE id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(most);

-- name: AddSession :exec
INSERT INTO sessions (id, user_id, created, listed, expires, sealed) VALUES (sqlc.arg(id), sqlc.arg(user_id), sqlc.arg(created), sqlc.arg(listed), sqlc.arg(expires), sqlc.arg(sealed));

-- name: LockSession :one
SELECT sealed FROM sessions WHERE id = sqlc.arg(id) FOR UPDATE;

-- name: SetSession :exec
UPDATE sessions SET created = sqlc.arg(created), listed = sqlc.arg(listed), expires = sqlc.arg(expires), sealed = sqlc.arg(sealed) WHERE id = sqlc.arg(id);

-- name: FindSession :one
SELECT sealed FROM sessions WHERE id = sqlc.arg(id);

-- name: FindStanding :one
SELECT s.sealed AS session, a.sealed AS account, y.body AS system FROM sessions s JOIN accounts a ON a.id = s.user_id CROSS JOIN system y WHERE s.id = sqlc.arg(id);

-- name: ListSessions :many
SELECT id, sealed FROM sessions WHERE user_id = sqlc.arg(user_id) AND listed > sqlc.arg(now) ORDER BY created DESC, id DESC LIMIT sqlc.arg(most);

-- name: PageSessions :many
SELECT s.id, s.user_id, s.sealed AS session, a.sealed AS account FROM sessions s JOIN accounts a ON a.id = s.user_id
WHERE (s.user_id, s.created, s.id) > (sqlc.arg(user_id)::bytea, sqlc.arg(created)::bigint, sqlc.arg(id)::bytea) AND s.listed > sqlc.arg(now)
ORDER BY s.user_id, s.created, s.id LIMIT sqlc.arg(most);

-- name: AddAPIKey :exec
INSERT INTO api_keys (id, owner, created, kept, sealed) VALUES (sqlc.arg(id), sqlc.arg(owner), sqlc.arg(created), sqlc.arg(kept), sqlc.arg(sealed));

-- name: LockAPIKey :one
SELECT sealed FROM api_keys WHERE id = sqlc.arg(id) FOR UPDATE;

-- name: SetAPIKey :exec
UPDATE api_keys SET created = sqlc.arg(created), kept = sqlc.arg(kept), sealed = sqlc.arg(sealed) WHERE id = sqlc.arg(id);

-- name: FindAPIKey :one
SELECT sealed FROM api_keys WHERE id = sqlc.arg(id);

-- name: ListAPIKeys :many
SELECT id, sealed FROM api_keys WHERE owner = sqlc.arg(owner) ORDER BY created, id;

-- name: EndingAPIKeys :many
SELECT id, sealed FROM api_keys WHERE kept >= sqlc.arg(since) AND kept < sqlc.arg(before) AND id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(most);

-- name: AddRing :exec
INSERT INTO rings (name, body) VALUES (sqlc.arg(name), sqlc.arg(body));

-- name: LockRing :one
SELECT body FROM rings WHERE name = sqlc.arg(name) FOR UPDATE;

-- name: SetRing :exec
UPDATE rings SET body = sqlc.arg(body) WHERE name = sqlc.arg(name);

-- name: FindRing :one
SELECT body FROM rings WHERE name = sqlc.arg(name);

-- name: LockSystem :one
SELECT body FROM system FOR UPDATE;

-- name: SetSystem :exec
UPDATE system SET body = sqlc.arg(body);

-- name: FindSystem :one
SELECT body FROM system;

-- name: AddRevocations :exec
INSERT INTO revocations (key, reason, asked_by, note, at, until)
SELECT unnest(sqlc.arg(keys)::bytea[]), unnest(sqlc.arg(reasons)::smallint[]), unnest(sqlc.arg(asked_by)::bytea[]), unnest(sqlc.arg(notes)::bytea[]), unnest(sqlc.arg(ats)::bigint[]), unnest(sqlc.arg(untils)::bigint[])
ON CONFLICT (key) DO NOTHING;

-- name: Snapshot :one
SELECT pg_current_snapshot()::text AS snapshot, COALESCE(pg_relation_filenode('revocations'), 0)::bigint AS file;

-- name: ListRevocations :many
SELECT key, reason, asked_by, note, at, until, xid::text AS after_xid FROM revocations
WHERE xid >= pg_snapshot_xmin(sqlc.arg(seen)::text::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, sqlc.arg(seen)::text::pg_snapshot)
  AND (xid, key) > (sqlc.arg(after_xid)::text::xid8, sqlc.arg(after_key)::bytea)
ORDER BY xid, key LIMIT sqlc.arg(most);

-- name: FindRevocations :many
SELECT r.key, r.reason, r.asked_by, r.note, r.at, r.until FROM (SELECT unnest(sqlc.arg(lows)::bytea[]) AS low, unnest(sqlc.arg(highs)::bytea[]) AS high) AS w
JOIN revocations r ON r.key >= w.low AND r.key < w.high;

-- name: AdoptRevocations :exec
UPDATE revocations SET xid = pg_current_xact_id() WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());

-- name: AddEvents :exec
WITH one AS MATERIALIZED (SELECT nextval('event_batches') AS batch)
INSERT INTO events (batch, place, id, sealed)
SELECT one.batch, generate_subscripts(sqlc.arg(ids)::bytea[], 1), unnest(sqlc.arg(ids)::bytea[]), unnest(sqlc.arg(sealed)::bytea[]) FROM one;

-- name: UnplacedEvents :one
SELECT count(*) FROM (SELECT 1 FROM events WHERE position IS NULL LIMIT sqlc.arg(most)) waiting;

-- name: PlaceEvents :execrows
UPDATE events SET position = due.position
FROM (
    SELECT e.batch, e.place, (SELECT COALESCE(max(l.position), 0) FROM events l) + row_number() OVER (ORDER BY e.batch, e.place) AS position
    FROM (SELECT batch, place FROM events WHERE position IS NULL ORDER BY batch, place LIMIT sqlc.arg(most)) e
) due
WHERE events.batch = due.batch AND events.place = due.place;

-- name: ListEvents :many
SELECT substring(e.id FROM 1 FOR 17)::bytea AS id, substring(e.sealed FROM 1 FOR sqlc.arg(longest)::integer)::bytea AS sealed, octet_length(e.sealed)::bigint AS size, e.position::bigint AS position
FROM (
    SELECT id, sealed, position, sum(least(octet_length(sealed), sqlc.arg(longest)::integer)) OVER (ORDER BY position) AS upto
    FROM events WHERE position > sqlc.arg(after)::bigint ORDER BY position LIMIT sqlc.arg(most)
) e
WHERE e.upto <= sqlc.arg(room)::bigint OR e.upto = least(octet_length(e.sealed), sqlc.arg(longest)::integer)
ORDER BY e.position;

-- name: LatestEvents :many
SELECT substring(e.id FROM 1 FOR 17)::bytea AS id, substring(e.sealed FROM 1 FOR sqlc.arg(longest)::integer)::bytea AS sealed, octet_length(e.sealed)::bigint AS size, e.position::bigint AS position
FROM (
    SELECT id, sealed, position, sum(least(octet_length(sealed), sqlc.arg(longest)::integer)) OVER (ORDER BY position DESC) AS upto
    FROM events WHERE position > sqlc.arg(after)::bigint ORDER BY position DESC LIMIT sqlc.arg(most)
) e
WHERE e.upto <= sqlc.arg(room)::bigint OR e.upto = least(octet_length(e.sealed), sqlc.arg(longest)::integer)
ORDER BY e.position DESC;

-- name: LockForTransaction :exec
SELECT pg_advisory_xact_lock(sqlc.arg(key));

-- name: TryLockForTransaction :one
SELECT pg_try_advisory_xact_lock(sqlc.arg(key)) AS locked;

-- name: LockForConnection :exec
SELECT pg_advisory_lock(sqlc.arg(key));

-- name: TryLockForConnection :one
SELECT pg_try_advisory_lock(sqlc.arg(key)) AS locked;

-- name: TryShareForConnection :one
SELECT pg_try_advisory_lock_shared(sqlc.arg(key)) AS locked;

-- name: AddUpload :exec
INSERT INTO uploads (id, owner, created, sealed) VALUES (sqlc.arg(id), sqlc.arg(owner), sqlc.arg(created), sqlc.arg(sealed));

-- name: LockUpload :one
SELECT sealed FROM uploads WHERE id = sqlc.arg(id) FOR UPDATE;

-- name: DropUpload :exec
DELETE FROM uploads WHERE id = sqlc.arg(id);

-- name: FindUpload :one
SELECT sealed FROM uploads WHERE id = sqlc.arg(id);

-- name: ListUploads :many
SELECT id, sealed FROM uploads WHERE owner = sqlc.arg(owner) ORDER BY created, id;

-- name: DropRevocations :execrows
DELETE FROM revocations WHERE key IN (SELECT r.key FROM revocations r WHERE r.until < sqlc.arg(before) ORDER BY r.until LIMIT sqlc.arg(most));

-- name: DropSessions :execrows
DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s WHERE s.expires < sqlc.arg(before) ORDER BY s.expires LIMIT sqlc.arg(most));

-- name: DropAPIKeys :execrows
DELETE FROM api_keys WHERE id IN (SELECT k.id FROM api_keys k WHERE k.kept < sqlc.arg(before) ORDER BY k.kept LIMIT sqlc.arg(most));

-- name: ServerFacts :one
SELECT current_setting('server_version_num')::int AS version, current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now;

-- name: LockBlocks :one
SELECT body FROM blocks FOR UPDATE;

-- name: SetBlocks :exec
UPDATE blocks SET revision = sqlc.arg(revision), body = sqlc.arg(body);

-- name: FindBlocks :one
SELECT body FROM blocks;

-- name: FindBlocksRevision :one
SELECT revision FROM blocks;

-- name: SayWord :exec
WITH gone AS (DELETE FROM nodes WHERE said < clock_timestamp() - interval '1 hour')
INSERT INTO nodes (id, said, text) VALUES (sqlc.arg(id), clock_timestamp(), sqlc.arg(text))
ON CONFLICT (id) DO UPDATE SET said = excluded.said, text = excluded.text;

-- name: HearWords :many
SELECT id, text, (extract(epoch FROM clock_timestamp() - said) * 1000000)::bigint AS age FROM nodes WHERE said > clock_timestamp() - interval '1 minute';

-- name: Clock :one
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now;

-- name: SetDurable :exec
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');

-- name: LockTrailHead :one
SELECT body FROM trail_head FOR UPDATE;

-- name: SetTrailHead :exec
UPDATE trail_head SET body = sqlc.arg(body);

-- name: FindTrailHead :one
SELECT body FROM trail_head;

-- name: AddLinks :exec
INSERT INTO trail (seq, sealed) SELECT unnest(sqlc.arg(seqs)::bigint[]), unnest(sqlc.arg(sealed)::bytea[]);

-- name: ListLinks :many
SELECT seq, sealed FROM trail WHERE seq > sqlc.arg(after) ORDER BY seq LIMIT sqlc.arg(most);

-- name: FindLinks :many
SELECT seq, sealed FROM trail WHERE seq = ANY(sqlc.arg(seqs)::bigint[]) ORDER BY seq;

-- name: SetLink :exec
UPDATE trail SET sealed = sqlc.arg(sealed) WHERE seq = sqlc.arg(seq);

-- name: SetEvent :exec
UPDATE events SET sealed = sqlc.arg(sealed) WHERE position = sqlc.arg(position)::bigint;

-- name: DropLinks :execrows
DELETE FROM trail WHERE seq IN (SELECT t.seq FROM trail t WHERE t.seq <= sqlc.arg(last) ORDER BY t.seq LIMIT sqlc.arg(most));

-- name: DropEvents :execrows
DELETE FROM events WHERE position IN (SELECT e.position FROM events e WHERE e.position <= sqlc.arg(last)::bigint ORDER BY e.position LIMIT sqlc.arg(most));

-- name: LockCursor :one
SELECT revision FROM cursors WHERE name = sqlc.arg(name) FOR UPDATE;

-- name: AddCursor :exec
INSERT INTO cursors (name, revision, position, holder, tries, again, state)
VALUES (sqlc.arg(name), 1, sqlc.arg(position), sqlc.arg(holder), sqlc.arg(tries), sqlc.arg(again), sqlc.arg(state));

-- name: SetCursor :exec
UPDATE cursors SET revision = sqlc.arg(revision), position = sqlc.arg(position), holder = sqlc.arg(holder), tries = sqlc.arg(tries), again = sqlc.arg(again), state = sqlc.arg(state)
WHERE name = sqlc.arg(name);

-- name: FindCursor :one
SELECT name, revision, position, holder, tries, again, state FROM cursors WHERE name = sqlc.arg(name);

-- name: LockAlerts :one
SELECT body FROM alerts FOR UPDATE;

-- name: SetAlerts :exec
UPDATE alerts SET body = sqlc.arg(body);

-- name: FindAlerts :one
SELECT body FROM alerts;

-- name: LockIncidents :one
SELECT body FROM incidents FOR UPDATE;

-- name: SetIncidents :exec
UPDATE incidents SET revision = sqlc.arg(revision), body = sqlc.arg(body);

-- name: FindIncidents :one
SELECT body FROM incidents;

-- name: FindIncidentsRevision :one
SELECT revision FROM incidents;
