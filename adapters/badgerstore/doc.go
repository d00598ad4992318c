// Package badgerstore keeps all state in one folder, with Badger: for a single process, with no server beside it.
//
// # Layout
//
// Badger keeps sorted keys. Integers in keys are big-endian; ids are their 16 bytes. What is sealed is sealed whole by the
// ports.Sealer, with the record's own key as its context, so that no record can take another's place.
//
//	key                            value                                               lives
//	m/schema                       the number of this layout, as text                  for ever
//	m/system                       system.State                                        for ever
//	m/blocks                       block.List, as it encodes itself                    for ever
//	m/alerts                       alert.Book, sealed                                  for ever
//	m/incidents                    incident.Casebook, sealed                           for ever
//	m/incidents.revision           8 bytes: its revision                               for ever
//	m/trail                        audit.Head                                          for ever
//	a/ user                        account.Account, sealed                             for ever
//	n/e digest                     user: who has the e-mail of that Sealer.Index       for ever
//	n/u digest                     user: who has the folded user name of that index    for ever
//	s/ session                     session.Session, sealed                             Expires + Margin
//	u/ user created session        empty: the sessions of a user, oldest first         as its session, an hour after its end at most
//	p/ API key                     apikey.Key, sealed                                  Kept + Margin
//	o/ user created API-key        empty: the API keys of a user, oldest first         as its key
//	f/ file                        upload.File, sealed                                 until it is deleted
//	w/ user created file           empty: the files of a user, oldest first            as its file
//	k/ name                        keyset.Ring, without Key.Secret                     for ever
//	r/ revocation.Entry.Key        the rest of the entry, its Note sealed              Until + Margin
//	e/ position                    audit.Event, sealed                                 until it is cut from the trail
//	c/ name                        ports.Cursor, with a State that is in the clear     for ever
//	t/ number                      audit.Link, sealed                                  until it is cut from the trail
//
// A value is the byte 1, the number of the encoding, and then fields: a tag, the length as a uvarint, the content. A field
// that is zero is left out. Tags never change meaning. A tag that is not known was written by a newer version, and is refused: what is not understood must not be
// written back without it. In created, the sign bit of the microseconds is turned, so that times before 1970 come first. A cut of the trail leaves the
// last event: new positions rise from it.
//
// In the clear stand ids, key ids, times, counts, who asked for a revocation (an id) and what kind of thing it is. E-mail addresses, names, user agents, network
// addresses, password hashes and free text do not.
//
// # Time
//
// Badger hides, and then drops, what has expired by the wall clock at the moment of reading, so a clock that jumps forward would kill revocations which live
// again once it jumps back. What can expire is therefore kept for Margin longer than it matters: a clock that is wrong by less than a day, at any moment, loses nothing.
//
// What Badger hides it drops only from tables that it happens to rewrite. So once an hour the committer deletes what has expired by the wall clock and by a steady one that was
// set by it when the store was opened, and that it finds hidden at that moment; the deletions make Badger rewrite the tables in due course.
//
// # Writing
//
// One goroutine commits. It gathers the write-sets of all callers that wait into one transaction of Badger, which costs one sync for all of
// them. A write-set is never parted. Values are all kept in Badger's tables and their log: one that is long enough for the value log (1 MiB), whose failed syncs Badger only logs, is refused.
//
// Transactions are numbered by that goroutine, without a gap (Badger's managed mode), and what is read is what the last one that succeeded has left. So a read waits for no
// commit: while a sync hangs, reads answer, writers leave when their contexts end, and Close gives up after ten seconds. What cannot be left is a read of a
// page that is not in memory while the disk is silent: that is the kernel's wait.
//
// Accounts that were read are remembered, open, up to a bound; what a transaction changes is forgotten before the transaction can be read, and everything when
// Badger is opened again.
//
// # Space
//
// Badger makes its files as long as they may become, maps them into memory, and writes into their holes. When the disk has no block for one, the kernel answers with SIGBUS: the
// process dies, no error is seen, and it dies again at its next start. So, unless Options.MinFreeSpace is 0, nothing is written that might meet such a disk:
//
//	free space below               what is done
//	MinFreeSpace                   new accounts, sessions, API keys and files are refused: ports.ErrNoSpace. Taken are revocations, events, and changes of what is there: those that end
//	                               something, and the rotations of refresh tokens, without which everybody would be signed out
//	what Badger may write next     the file RESERVE, 32 MiB, is deleted: what is taken goes on. It is made again when there is twice its size beside
//	the same, and no RESERVE       nothing is written at all, ports.ErrNoSpace; reads go on
//
// What Badger may write next is 56 MiB and the tables, but not more than 176 MiB: a log, 16 MiB, three tables of full memtables, 10 MiB each, and what two compactions write before
// they delete what they have read; and 10 MiB that keep a store which has filled its disk by itself from being refused by Open, which asks for the rest. So a MinFreeSpace
// below that and the reserve means that. The free space is asked for once a second and whenever a log begins; a log is given its blocks then (fallocate), so that a commit that
// is not refused needs none. Between two looks the store takes a log and a table, for which there is room.
//
// Two gaps are left. Other programs that take all that is kept free in less than a second, while Badger just writes a table, still kill the process, though nothing that was
// acknowledged is lost: a file system of its own for the folder closes this gap. And when the disk is full, Close leaves Badger open, with an error, since that would write a table: the
// folder is then taken until the process ends. Where the file system gives no blocks ahead, 32 MiB more are kept free, and there is no RESERVE; where free space is not known (systems other than Linux),
// nothing is watched.
//
// # Failing
//
// After a commit that failed the log may have a hole, behind which nothing would be replayed, and Badger may stand without a log, where a read panics. From that moment all calls
// answer ports.ErrUnavailable and every Follow ends with it. The committer closes Badger, which writes what it has in memory into a table, and opens it on the same
// folder, with all that Open looks at, after 100 ms and then ever less often, down to twice a minute. One line tells of the stop, one of the end, and one of each new reason why it
// takes longer. Nothing else in the process has to be begun anew. The fate of the changes whose commit failed is known then: each is there whole or not at all.
//
// # Damage
//
// Badger goes on without what it cannot read: it ends a log at the first wrong sum, and an iteration at a damaged block. So the folder is looked at before Badger opens it. A log may
// end in one incomplete transaction, as a crash leaves it: that was not acknowledged, is dropped, and one line tells of it. Entries of later ones behind it, or a number that is missing
// between two logs, are damage: each transaction was synced before the next was written. What is damaged is refused, and left as it is. What cannot be told
// from a crash is a last transaction that was complete once.
//
// Tables are read whole, with all their sums, once in their lives before anybody else reads them or else within an hour, and again at each start: up to 256 MiB of them by Open, the rest
// in the background, at half speed. The file CHECKED says which of them were sound, by number, size and time; the file may be deleted. A table that is found to be damaged while
// the store is open stops it as a failed commit does, and then it is refused.
//
// Badger syncs a new log, but not its name: the committer syncs the folder before it acknowledges what stands in a new log.
package badgerstore
