package xteam_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/secret"
)

// A program protects its handlers: it opens the system, mounts the endpoints by which users sign in, wraps a handler, and reads from the context who asks.
func Example() {
	dir, err := os.MkdirTemp("", "xteam")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	x, err := xteam.Open(context.Background(), xteam.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()

	mux := http.NewServeMux()
	mux.Handle("/api/v1/", x.Handler())
	mux.Handle("GET /orders", x.Protect(x.Limit("orders", 30, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := xteam.CallerFrom(r.Context())
		fmt.Fprintln(w, "the orders of", caller.User())
	}))))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/orders", http.NoBody))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output: 401 Bearer realm="xteam"
}

// ExampleXTeam_RevokeUser signs a user in and takes everything from them that they have.
func ExampleXTeam_RevokeUser() {
	dir, err := os.MkdirTemp("", "xteam")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	x, err := xteam.Open(ctx, xteam.Options{Dir: dir, BcryptCost: 10})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()

	email, _ := account.ParseEmail("ann@example.com")
	name, _ := account.ParseUsername("ann")
	password := secret.New("correct-Horse-battery-9")
	if _, err := x.Accounts().Create(ctx, app.Actor{Name: app.System}, app.Registration{Email: email, Username: name, Password: password}, account.RoleUser); err != nil {
		log.Fatal(err)
	}
	tokens, err := x.Sessions().Login(ctx, app.Request{}, account.Login{Email: email}, password)
	if err != nil {
		log.Fatal(err)
	}
	access := tokens.Access.RevealPlaintext()

	before, _ := x.IsRevoked(access)
	ended, err := x.RevokeUser(ctx, "ann@example.com", "laptop stolen")
	if err != nil {
		log.Fatal(err)
	}
	after, _ := x.IsRevoked(access)
	fmt.Println(before, ended, after)
	// Output: false 1 true
}

// ExampleXTeam_Handler signs in over HTTP, as a client of the program does.
func ExampleXTeam_Handler() {
	dir, err := os.MkdirTemp("", "xteam")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	x, err := xteam.Open(context.Background(), xteam.Options{Dir: dir, BcryptCost: 10})
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()

	post := func(path, body string) int {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		x.Handler().ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println(post("/api/v1/auth/register", `{"email":"ann@example.com","username":"ann","password":"correct-Horse-battery-9"}`))
	fmt.Println(post("/api/v1/auth/login", `{"username":"ann","password":"correct-Horse-battery-9"}`))
	fmt.Println(post("/api/v1/auth/login", `{"username":"ann","password":"another one"}`))
	// Output:
	// 201
	// 200
	// 401
}
