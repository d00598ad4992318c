package main

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/xteam/xteam/app/xteam"
)

func main() {
	x, err := xteam.Open(context.Background(), xteam.Options{Dir: "data", BcryptCost: 10})
	if err != nil {
		panic(err)
	}
	http.Handle("/api/v1/", x.Handler())
	http.Handle("GET /orders", x.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := xteam.CallerFrom(r.Context())
		fmt.Fprintln(w, "the orders of", caller.User())
	})))
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	fmt.Printf("http://%s\n", l.Addr())
	fmt.Println(http.Serve(l, nil))
}
