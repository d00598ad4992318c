package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// listed is a page of a list of the API's, or all of its pages.
type listed[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"` // the cursor of the next page; null on the last
}

// pages reads the list that a path and a query name, from a cursor on: one page, or every one.
func pages[T any](ctx context.Context, api *admin, path string, query url.Values, limit int, cursor string, every bool) (listed[T], error) {
	all := listed[T]{Items: []T{}}
	for {
		query.Set("limit", strconv.Itoa(limit))
		query.Set("cursor", cursor)
		var page listed[T]
		if err := api.get(ctx, path+"?"+query.Encode(), &page); err != nil {
			return all, err
		}
		all.Items, all.Next = append(all.Items, page.Items...), page.Next
		if !every || page.Next == nil {
			return all, nil
		}
		cursor = *page.Next
	}
}

// longest is the longest page that the API answers.
const longest = 100

// paging are the flags of a list that is shown a page at a time.
type paging struct {
	limit  int
	cursor string
	every  bool
}

func pagingFlags(cmd *cobra.Command, what string) *paging {
	var p paging
	f := cmd.Flags()
	f.IntVar(&p.limit, "limit", 50, what+" of a page, 1 to 100")
	f.StringVar(&p.cursor, "cursor", "", "where the page begins, as the page before said")
	f.BoolVar(&p.every, "all", false, "every page")
	return &p
}

// more says where a list goes on that was printed as text.
func (c *cli) more(next *string, asJSON bool) {
	if next != nil && !asJSON {
		_, _ = fmt.Fprintf(c.err, "There are more: --cursor %s\n", *next)
	}
}
