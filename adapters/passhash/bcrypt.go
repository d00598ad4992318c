package passhash

import (
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// MinCost and MaxCost bound the configured cost, and MaxCost also what is computed at all: a stored hash above it is never
// compared, since one of cost 31 would burn a core for a day and a half.
const (
	MinCost = 10
	MaxCost = 16
)

// spendRounds takes the time that is left of a comparison at the configured cost once one at this cost is done; at cost 0, none is.
func (h *Hasher) spendRounds(cost int) {
	if cost == 0 {
		_ = h.compare([]byte(dummies[h.cost]), nil)
		return
	}
	for c := cost; c < h.cost; c++ { // 2^cost + 2^cost + 2^(cost+1) + … + 2^(h.cost-1) = 2^h.cost
		_ = h.compare([]byte(dummies[c]), nil)
	}
}

// costOf reads the cost of a hash in bcrypt's notation, strictly, so that every hash it takes costs a comparison its full time: $2a$, $2b$ or $2y$, two
// digits from 04 to 31, $, 53 characters.
func costOf(hash string) (cost int, ok bool) {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(hash) != 60 || hash[:2] != "$2" || strings.IndexByte("aby", hash[2]) < 0 || hash[3] != '$' || hash[6] != '$' {
		return 0, false
	}
	if strings.Trim(hash[4:6], "0123456789") != "" || strings.Trim(hash[7:], alphabet) != "" {
		return 0, false
	}
	cost = int(hash[4]-'0')*10 + int(hash[5]-'0')
	return cost, cost >= bcrypt.MinCost && cost <= bcrypt.MaxCost
}

// dummies are hashes of random passwords that nobody knows, one for each cost that is ever computed.
var dummies = [MaxCost + 1]string{
	4:  "$2a$04$gT6l9Lr0YwZKp6LuoMxgIu2E4QxQ05dUgf1f.0289UtpPK0PYxjKi",
	5:  "$2a$05$RMY/9lg/kNK3wmmKbZOrZ.LqL5LnFL1o6ljxe38yy/rBWJuC4IOWC",
	6:  "$2a$06$iDtzFBqk7Ppllq/sTocnK.xLYTirnMbvcGSx.m6zdo8SzeMPBobi.",
	7:  "$2a$07$q7BlcxSNZhZ414YqT8cah.wmtrf44Lya3r4gQC4spyy6VqjHlcsHS",
	8:  "$2a$08$iBRt5hf4U2BNdrE/suMZmucdneOTrI8Fa.3jTCEdckMQRybQB0mKm",
	9:  "$2a$09$1AyaI5/41/uQla05paU7U.TpmFCkbrtNrrjnRWCTP1d3xIz2O1v0O",
	10: "$2a$10$crLBSa56rvf.csKui9qK7eYh0WAJjlJ3E4QEH4wlifGUNidLBSTLK",
	11: "$2a$11$e/N1IW14as9dJBidwQYo/eVj.6WVKPMGU3.snVpta4CJEFe78jamG",
	12: "$2a$12$zv3iHjkqX7Kw58OmXbi4MeRbpKHAZsOpCC7Gc4j1ic1EDqdsgjmyK",
	13: "$2a$13$6hPk3EZuMoEjK3hqcZ7HYuGldNKPD8Agw6ZnxBFiNqywuzcwWpQxG",
	14: "$2a$14$tP777lE1aKNOdH8.xjordOJxG3kh3TJemuQphOYn93lsbDH49NhAW",
	15: "$2a$15$.ix//Hi7jsigQufRnK9nW.cCZO9QfCjJ8b7Ngz5ILHDv2F1n5P49u",
	16: "$2a$16$8JmlfEl9Q6CIp.XSMQcqPOPJyKeCh1T11oCILVhot5W.acDcNKKcW",
}
