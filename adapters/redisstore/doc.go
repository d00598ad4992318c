// Package redisstore keeps in Redis what the nodes of a cluster share beside their database: the fast path of the revocations (ports.Revocations) and the
// token buckets of the rate limits (ports.Buckets). Redis never is the truth: what it loses is put back from the database and from the nodes' memory.
//
// # Where Redis is
//
// It is Redis 6.2 or later.
//
//	redis://USER:PASSWORD@HOST:6379/DB                                one server
//	rediss://…                                                        the same, over TLS
//	redis+sentinel://USER:PASSWORD@S1:26379,S2:26379/MASTER?db=0      the primary that Sentinels name
//	redis+cluster://USER:PASSWORD@H1:6379,H2:6379                     a Redis Cluster, by some of its nodes
//	rediss+sentinel://…, rediss+cluster://…                           over TLS
//
// The query may hold: tls=true; ca=FILE, the PEM certificates of the only authorities that are trusted; server_name=NAME, the name that the certificate is checked for
// where it is not the host's; namespace=NAME, the first part of every key (xteam), so that several systems may share one Redis; sentinel_username and sentinel_password. A user
// needs these rights: ~xteam:* +@all -@dangerous, and, so that eviction and failover are seen earlier, +config|get +info.
//
// # The keys of the revocations
//
// All lie in one slot of a Cluster. What stands for one id is gone when nothing that it names can be valid any more, and a day later at the earliest.
//
//	xteam:{r}:epoch              the least epoch (claim ep) that is still good, in decimal; 0 if none was raised. No such key: this Redis is new, or has lost something, and no node has vouched for it yet: trust nothing
//	xteam:{r}:jti:JTI            is there when the token is revoked; the claim as it stands in the token
//	xteam:{r}:sid:SID            is there when the session is revoked
//	xteam:{r}:gen:SUB            the least generation (claim gen) of the user that is still good, in decimal; no such key: all are
//	xteam:{r}:kid:KID            is there when the signing key is revoked; without a time to live
//	xteam:{r}:before             tokens with iat at or before it are revoked: microseconds since 1970, in decimal; no such key: none
//	xteam:{r}:api_key:ID         is there when the API key is revoked
//
// A reader in another language checks signature and expiry, and then asks once, for bytes (with redis-py without decode_responses). In Python:
//
//	def revoked(redis, kid, claims):
//	    epoch, jti, sid, gen, key, before = redis.mget(
//	        "xteam:{r}:epoch", "xteam:{r}:jti:" + claims["jti"], "xteam:{r}:sid:" + claims["sid"],
//	        "xteam:{r}:gen:" + claims["sub"], "xteam:{r}:kid:" + kid, "xteam:{r}:before")
//	    if epoch is None:
//	        raise RuntimeError("Redis does not know every revocation: refuse")
//	    return (claims["ep"] < int(epoch) or jti is not None or sid is not None or key is not None
//	            or claims["gen"] < int(gen or 0) or claims["iat"] * 1000000 <= int(before or 0))
//
// What lies under a jti, sid, kid or api_key is nobody's concern but XTeam's; that something does is what is documented.
//
// # Who may write, and what is believed
//
// Each entry ends with the number of a key (two bytes) and a MAC (HMAC-SHA256, cut to 16 bytes) of all that stands before it and of the namespace, under a key that all nodes have from their database. A node believes no
// entry without a right one, and takes none for nothing: it asks the database, where every acknowledged revocation is. So whoever can write to Redis and has no key makes nobody revoked in the eyes of the nodes, and keeps
// nothing from being revoked; what they damaged, one node writes anew, or removes if no node knows of it. What was written without a MAC, by a version before, is renewed in the same way.
//
// Readers that have no keys, those in other languages and services that follow Redis with app/verify, believe whoever can write: give the nodes alone a user that may, and the readers one that may not
// (~xteam:{r}:* +@read for a reader's MGET). A service that shall not have to trust Redis follows /api/v1/revocations.
//
// Of XTeam's own concern, and free to change, are: user:SUB:GEN, rise:EPOCH and past:TIME, the entries behind gen, epoch and before; live, the names of all entries
// in a sorted set by their end in seconds; stream, in which nodes hear what is new, cut to some 65,536 entries; id, by which a node knows that it still talks to the same data;
// raised, what epoch will be when a node vouches for the data again; count; probe; healing; mending.
//
// # The keys of the buckets
//
// xteam:b:KEY/CAPACITY/PERIOD holds a bucket that is not full, as three integers, and expires a minute after it is full again. On a Cluster the buckets of one request lie in
// several slots: they are asked in one pipeline, each for itself, and what one gave stays taken when another refuses.
//
// # Clocks
//
// Redis' clock decides nothing. It only drops what was over long before.
package redisstore
