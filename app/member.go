package app

import (
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/system"
)

var members = map[error]string{
	account.ErrNotOne: "email", ErrBlockTime: "until", ErrEmptySpan: "to", ErrPasswordNeeded: "current_password", ErrSilence: "seconds", block.ErrInvalid: "cidr",
	id.ErrInvalid: "id", incident.ErrName: "name", incident.ErrPercent: "percent", system.ErrFuture: "issued_before",
}

// Member is the member of a request that an error is about which carries none, as REST calls it: whoever sent what is wrong is always told where. Empty, the error is about all that was sent.
func Member(err error) string { return members[err] }
