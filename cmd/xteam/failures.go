package main

import (
	"fmt"
	"strings"
)

// failure is what happens when something fails that this program stands on, and the tests that show it.
type failure struct {
	Part    string   `json:"part"`
	Fails   string   `json:"fails"`
	Happens string   `json:"happens"`
	Tests   []string `json:"tests"` // FOLDER NAME; of a table, FOLDER NAME/ROW
}

// failures is the table of them.
var failures = []failure{
	{"Redis", "is killed, hangs, or drops its clients", "tokens are judged as before, by the database's poll; revocations are taken, and other servers hear of them within REVOCATION_POLL; limits go on with each server's own buckets",
		[]string{"tests/faults TestFaults/Redis: kill -9", "tests/faults TestFaults/Redis: SIGSTOP for 60 s", "tests/faults TestFaults/Redis: CLIENT KILL every 50 ms", "tests/faults TestFaults/Redis: CLIENT PAUSE of 500 ms, again and again", "adapters/redisstore TestAHungServerEndsFollowAndRecord"}},
	{"Redis", "is cut off, one way or both, or is late", "as when it hangs; a call that counts requests waits 20 ms at most, and none once three have waited",
		[]string{"tests/faults TestFaults/Redis: network cut, nothing comes back", "tests/faults TestFaults/Redis: network cut, nothing gets there", "tests/faults TestFaults/Redis: network cut both ways", "tests/faults TestFaults/Redis: network cut both ways for one node", "tests/faults TestFaults/Redis: latency 500 ms"}},
	{"Redis", "fails over, splits (an old primary goes on answering), or moves a slot", "within REVOCATION_POLL every server knows what the database holds, whichever Redis it hears; the new primary is followed, and what it lacks is put back",
		[]string{"tests/faults TestFaults/Redis: failover by Sentinel during writes", "tests/faults TestFaults/Redis: an old primary still answers one node", "tests/faults TestFaults/Redis: a Cluster slot moves, a primary is lost", "adapters/redisstore TestSentinel", "adapters/redisstore TestCluster"}},
	{"Redis", "forgets: FLUSHALL, eviction, an old dump, a failover that dropped writes", "noticed within a second, and put back from what the servers hold; told of in the log and by an event; nobody is refused meanwhile, but services that ask Redis themselves refuse until it is whole again",
		[]string{"tests/faults TestFaults/Redis: FLUSHALL", "tests/faults TestFaults/Redis: SCRIPT FLUSH", "tests/faults TestFaults/Redis: full, each evicting policy in turn", "tests/faults TestFaults/Redis: an old dump is restored", "adapters/redisstore TestEveryLossIsNoticed", "adapters/redisstore TestAReplicaThatLacksTheLastWrites", "app/view TestWhatASourceLostIsPutBack", "app/view TestWhatIsOverIsPutBackToo", "app/view TestOneOfManyPutsBack"}},
	{"Redis", "holds revocations that are damaged, forged or of another version", "none of them is believed: the database is asked at once in their place, and one server puts them right; told of in the log, by an event and by a metric. While the database does not answer either, signed-in requests get 503 after REVOCATION_MAX_STALENESS",
		[]string{"tests/faults TestDamageInRedis", "app/view TestTheTruthIsAskedForWhatCannotBeRead", "app/view TestUnreadWhileTheTruthIsSilent", "app/view TestWhatCannotBeReadIsMended"}},
	{"Redis", "is full and evicts nothing", "as when it hangs", []string{"tests/faults TestFaults/Redis: full, noeviction", "adapters/redisstore TestAFullRedisIsUnavailable"}},
	{"Redis", "takes another password than before", "as when it is down, until the servers are given the new one", []string{"tests/faults TestFaults/Redis: the password is rotated under the nodes"}},
	{"Redis", "is a read-only replica, or refuses the password, at the start", "the start is refused, with the reason", []string{"adapters/redisstore TestWrongPasswordAndReplica"}},
	{"Redis and PostgreSQL", "are each out of another server's reach", "each server goes on by the one that it reaches; a server that reaches both brings to Redis, within two seconds, what was revoked in PostgreSQL and did not come there. Without such a server, one that has Redis alone does not hear of it: REVOCATION_STRICT=true has it refuse",
		[]string{"tests/faults TestHalvesOfAClusterHearOfOneAnother", "app/view TestWhatTheTruthToldAndAFeedDidNotIsRecordedThere"}},
	{"PostgreSQL", "is killed or hangs", "tokens are judged as before while Redis is heard, without it for REVOCATION_MAX_STALENESS, and then refused with 503; sign-ins and refreshes get 503; a revocation is in force, through Redis also on the other servers, gets 503 not_yet_durable, and is written down afterwards; what was acknowledged is there",
		[]string{"app TestRevocationsWhileTheDatabaseIsDown", "app TestADatabaseThatHangs", "app TestPendingRuns", "tests/faults TestFaults/PostgreSQL: kill -9", "tests/faults TestFaults/PostgreSQL: SIGSTOP", "adapters/pgstore TestCrash"}},
	{"PostgreSQL", "fails over, or turns read-only", "what was surely not sent is tried once more, else 503; nothing is done twice", []string{"adapters/pgstore TestFailover", "adapters/pgstore TestDemoted", "adapters/pgstore TestUnknownOutcome"}},
	{"PostgreSQL", "was set back to an earlier point", "what it lacks is put back from what the servers and Redis hold, with what that says of sessions, accounts and keys; an event tells of it. A server that finds it so at its start, or after it heard of nothing for longer than REVOCATION_MAX_STALENESS, raises the epoch: every client refreshes once. Sessions that began since are gone, and their clients sign in again",
		[]string{"tests/faults TestFaults/PostgreSQL: restored to an earlier point", "app/view TestWhatASourceLostIsPutBack", "app/view TestWhatIsOverIsPutBackToo", "app/view TestWhoCannotVouch", "app/view TestWhoWasAwayCannotVouch", "app TestWhatTheDatabaseLostIsMended", "app TestALossThatNobodyCanVouchFor", "app TestAMarkOutsideTheDatabase", "app TestRefreshInADatabaseThatWasSetBack", "adapters/pgstore TestAFollowerEndsWithItsTable"}},
	{"PostgreSQL", "is slow, or transactions lose against one another", "a statement ends after 5 s, and a wait for a lock after 2, with 503; what lost is tried again, eight times",
		[]string{"tests/faults TestFaults/PostgreSQL: statement time-out", "tests/faults TestFaults/PostgreSQL: serialisation conflicts"}},
	{"PostgreSQL", "has no connection left", "a bounded wait, then 503", []string{"tests/faults TestFaults/PostgreSQL: pool exhausted", "adapters/pgstore TestPoolExhausted"}},
	{"PostgreSQL", "has a certificate of another name or authority", "the start is refused; no connection goes on in the clear", []string{"adapters/pgstore TestTLS"}},
	{"the disk of DATA_DIR", "has less than MIN_FREE_SPACE", "new users, files and sign-ins get 507; revocations and events go on, in the end from a reserve", []string{"tests/e2e TestTooLittleSpace", "adapters/badgerstore TestFullDisk"}},
	{"the disk of DATA_DIR", "holds a file that is cut or damaged", "what was cut off is dropped and told of; what is damaged is refused in one sentence, and left as it is", []string{"adapters/badgerstore TestTornFiles"}},
	{"the disk of UPLOAD_DIR", "has less than MIN_FREE_SPACE, or is full", "uploads get 507, and what has come of them is taken away; downloads and deletions go on", []string{"adapters/diskfiles TestTheLastSpaceIsKept", "app TestTheRecordDecides"}},
	{"the folder UPLOAD_DIR", "is not the one that was written to", "downloads get 503 until it is; files can be listed and deleted", []string{"app TestBytesThatAreNotThereAreSaidToBe"}},
	{"a server", "is killed while a file is uploaded or deleted", "the file is there whole or not at all, and takes space only if it is there", []string{"tests/e2e TestUploadsKilled", "adapters/diskfiles TestFiles", "app TestTheRecordDecides"}},
	{"a server", "is killed", "what it acknowledged is there; the others go on", []string{"tests/e2e TestKilledUnderLoad", "tests/faults TestFaults/a node: kill -9 of each in turn"}},
	{"a server", "stands still and comes back", "it judges by what it knows for REVOCATION_MAX_STALENESS, and hears what it missed before it is trusted longer", []string{"tests/faults TestFaults/a node: SIGSTOP"}},
	{"the source of secrets", "does not answer, is sealed, or denies", "the last good values are used on for as long as the server runs, and /readyz says how old they are; a start is refused, with the reason",
		[]string{"app TestSecretsThroughAnOutage", "tests/e2e TestRealVaultRotatesASecret"}},
	{"the source of secrets", "lacks a secret that was there", "the value of before is used on, and told of", []string{"app TestSecretsThatVanish"}},
	{"the lists of the stores' sessions", "cannot be read, or not all of them", "told of as unknown, in the log, by a metric and by xteam doctor, and nobody is taken to be absent; what can be seen is judged as ever",
		[]string{"app TestGuestsFromOutside", "adapters/pgstore TestGuests", "adapters/redisstore TestGuests"}},
	{"the firewall of FIREWALL_URL", "does not answer, denies, or is changed by somebody else", "what is blocked is refused by the servers themselves as ever; the list is set again once it can be, and what was changed there is put right within a minute; told of in the log and by a metric",
		[]string{"app TestFirewallThatFails", "app TestFirewallFollowsTheBlocks", "adapters/awswaf TestFaults", "adapters/awswaf TestDriftAndStaleTokens"}},
	{"the log", "cannot be written, or nobody reads it", "requests go on; lines are dropped and counted", []string{"tests/e2e TestLogNobodyReads", "tests/e2e TestLogPipeWithoutReader"}},
	{"the certificate", "is renewed half-way, or not at all", "the old pair is served until both files agree", []string{"cmd/xteam TestCertificateRenewedHalfWay"}},
	{"the clock", "differs from that of the database or of Redis", "limits that servers share are counted by the database's clock; from 5 s on somebody is told; from 5 min on no token is issued (503), and a start is refused", []string{"app TestClocks", "app TestNoTokenByAWrongClock"}},
	{"the audit trail", "cannot be appended to, or its head is not signed as it should be", "events are committed with their changes as before, and linked later; told of in the log, by /readyz and by a metric; what does not hold is never signed",
		[]string{"app TestATrailThatWasChangedIsNeitherSignedNorGoneOnWith", "adapters/httpapi TestReadinessTellsOfAuditThatIsBehind", "app TestAStartThatWasInterruptedIsGoneOnWith"}},
	{"the clock", "differs from that of another server", "tokens are taken while the difference is below JWT_LEEWAY, and beyond it refused as not yet valid; what was revoked stays so", []string{"tests/faults TestFaults/nodes: clocks 60 s apart"}},
	{"the clock", "jumps", "told of in the log; what was revoked stays so", []string{"tests/faults TestFaults/nodes: a clock is set back", "app/view TestAClockThatJumps"}},
}

// failuresText is a paragraph for each: what fails, what happens, and which tests show it.
func failuresText() string {
	var b strings.Builder
	for i, f := range failures {
		if i > 0 {
			b.WriteString("\n\n")
		}
		fmt.Fprintf(&b, "%s %s\n  %s\n  shown by:", f.Part, f.Fails, f.Happens)
		for _, test := range f.Tests {
			b.WriteString("\n    " + test)
		}
	}
	return b.String()
}
