// Package pgstore keeps all state in a PostgreSQL database (14 or newer): for many processes at once, which know of one another through it alone.
//
// # Layout
//
// migrations/ has the tables, queries.sql every statement; sqlc makes package queries of both, which is committed and compared by `make verify`. Values travel as parameters of the extended
// protocol, never in the text. A column stands in the clear when it is looked up, ordered by or deleted by: ids, times, digests of names under the index key, who asked for a revocation (an
// id) and why. All else of an account, a session, an API key or an event is one record, encoded and then sealed whole by the ports.Sealer for its table and id, so that no record can take
// another's place. Rings of keys and the system's state are in the clear, for they are read before there is a Sealer; a ring holds secrets wrapped only.
//
// # Writing
//
// A change is a transaction of two round trips: begin and the read that locks the row; then all that is written (the row, its revocations, its events) with the commit. What only creates is
// one. Changes of sessions and accounts, and effects alone, that come while others are on their way share one such transaction, and wait for the disk once (together.go): when it fails, each is tried
// alone. The isolation is read committed: what a change reads it has locked, and what two must not both have is a unique index. A transaction that lost against another (40001, 40P01) is
// run again, up to eight times. One that met a broken connection or a server that was demoted (25006) is run again once, as long as its commit was not sent. Where a commit was sent and not
// answered, the call fails: whether it was carried out is not known. synchronous_commit is raised to on, and a server with fsync=off refused.
//
// Whoever changes one record waits in the process, not on a connection; so a record that everybody wants holds one connection of each node. The wait for a connection is bounded.
//
// # Following
//
// An entry keeps the number of its transaction (xid8). A follower asks, each round, for those that the snapshot at the beginning of the round before did not see: exactly those, whatever order
// transactions end in and however long one lasts. Its own process' commits wake it before the next poll. See Revocations.Follow.
//
// # Events
//
// An event is stored with a number that rises within the rows that transactions change, and without a position. Whoever lists gives positions, under a lock, to what is committed and has none. So positions
// rise in the order in which events can be read, none can appear behind a reader's back, and those who write wait for nobody.
//
// # Other servers
//
// A database that was dumped and loaded elsewhere has numbers of transactions that the new server has yet to give: Open gives them anew. A pooler between (PgBouncer) must pool sessions, not
// transactions. pgx reads the variables of libpq that a URL leaves open (PGPASSWORD, PGSSLROOTCERT, …), but host, database and sslmode are always the URL's.
package pgstore
