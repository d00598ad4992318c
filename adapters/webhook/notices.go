package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/xteam/xteam/ports"
)

// Notices posts notices to whatever reaches users, one message each.
type Notices struct{ to *Sender }

var _ ports.Notices = (*Notices)(nil)

// NewNotices posts by a sender.
func NewNotices(to *Sender) *Notices { return &Notices{to} }

// Notify posts a notice under the id of its sign-in:
//
//	{"type":"sign_in_from_new_network","timestamp":RFC 3339,"data":{"user_id":…,"username":…,"email":…,"full_name":…,"ip_address":…,"user_agent":…,"link":…}}
func (s *Notices) Notify(ctx context.Context, n ports.Notice) error {
	type data struct {
		UserID    string `json:"user_id"`
		Username  string `json:"username"`
		Email     string `json:"email"`
		FullName  string `json:"full_name"`
		IPAddress string `json:"ip_address"`
		UserAgent string `json:"user_agent"`
		Link      string `json:"link"`
	}
	b, err := json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      data      `json:"data"`
	}{"sign_in_from_new_network", n.Time.Time(), data{n.User.String(), n.Username, n.Email, n.FullName, n.IPAddress, n.UserAgent, n.Link.RevealPlaintext()}})
	if err != nil {
		return errors.New("write a notice as JSON") // without what it holds
	}
	return s.to.Send(ctx, n.ID.String(), b)
}
