package jwtcodec_test

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/token"
)

func BenchmarkParse(b *testing.B) {
	b.Run("warm", func(b *testing.B) {
		c := codec(b, jwtcodec.Options{})
		text := sign(b, c, claims())
		parse(b, c, text)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Parse(text)
		}
	})
	b.Run("warm, 20,000 tokens", func(b *testing.B) {
		c := codec(b, jwtcodec.Options{})
		texts := make([]string, 20_000)
		in := claims()
		for i := range texts {
			in.Generation = token.Generation(i)
			texts[i] = sign(b, c, in)
			parse(b, c, texts[i])
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			_, _ = c.Parse(texts[i*7919%len(texts)])
			i++
		}
	})
	b.Run("warm, parallel", func(b *testing.B) {
		c := codec(b, jwtcodec.Options{})
		text := sign(b, c, claims())
		parse(b, c, text)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = c.Parse(text)
			}
		})
	})
	b.Run("cold", func(b *testing.B) { // what a Parse costs without the cache
		c := codec(b, jwtcodec.Options{CacheBytes: -1})
		text := sign(b, c, claims())
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Parse(text)
		}
	})
	b.Run("cold, by a foreign header", func(b *testing.B) { // that Sign would have written otherwise
		c := codec(b, jwtcodec.Options{CacheBytes: -1})
		text := forge(goodHeader, goodPayload, ours)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Parse(text)
		}
	})
	b.Run("first", func(b *testing.B) { // each token for the first time, into the cache
		c := codec(b, jwtcodec.Options{})
		texts := make([]string, 200_000)
		in := claims()
		for i := range texts {
			in.Generation = token.Generation(i)
			texts[i] = sign(b, c, in)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			_, _ = c.Parse(texts[i%len(texts)]) // the cache holds far fewer
			i++
		}
	})
	b.Run("8,000 dots", func(b *testing.B) {
		c := codec(b, jwtcodec.Options{})
		dots := strings.Repeat(".", 8000)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Parse(dots)
		}
	})
}

// BenchmarkGolangJWT is golang-jwt's own parse of the same token, with the checks that make it comparable.
func BenchmarkGolangJWT(b *testing.B) {
	type ourClaims struct {
		jwt.RegisteredClaims
		Session  string   `json:"sid"`
		ClientID string   `json:"client_id"`
		Scope    string   `json:"scope"`
		Roles    []string `json:"roles"`
		Gen      int64    `json:"gen"`
		Epoch    int64    `json:"ep"`
	}
	in := claims()
	in.ExpiresAt = instant.Of(time.Now().Add(time.Hour))
	in.IssuedAt, in.NotBefore = instant.Of(time.Now()), instant.Of(time.Now())
	text := sign(b, codec(b, jwtcodec.Options{}), in)
	secret := []byte(ours.RevealPlaintext())
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}))
	find := func(*jwt.Token) (any, error) { return secret, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parser.ParseWithClaims(text, &ourClaims{}, find); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, algorithm := range keyset.Algorithms() {
		b.Run(algorithm, func(b *testing.B) {
			c := holding(b, ringOf(as(algorithm, keyset.Primary)), jwtcodec.Options{})
			in := claims()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Sign(in)
			}
		})
	}
}

// BenchmarkAlgorithms is what a Parse costs, by the algorithm of the key: for the first time, and again.
func BenchmarkAlgorithms(b *testing.B) {
	for _, algorithm := range keyset.Algorithms() {
		for name, bytes := range map[string]int{"cold": -1, "warm": 0} {
			b.Run(algorithm+", "+name, func(b *testing.B) {
				c := holding(b, ringOf(as(algorithm, keyset.Primary)), jwtcodec.Options{CacheBytes: bytes})
				text := sign(b, c, claims())
				b.ReportAllocs()
				for b.Loop() {
					_, _ = c.Parse(text)
				}
			})
		}
	}
}

// BenchmarkSetRing is the change of one key of a thousand, beside a ring that is read for the first time.
func BenchmarkSetRing(b *testing.B) {
	ring := history(b, 1000)
	b.Run("the first", func(b *testing.B) {
		for b.Loop() {
			_ = jwtcodec.New(jwtcodec.Options{CacheBytes: -1}).SetRing(ring)
		}
	})
	b.Run("one changed", func(b *testing.B) {
		c := holding(b, ring, jwtcodec.Options{})
		i := 0
		for b.Loop() {
			ring.Keys[1+i%999].State ^= keyset.Retiring ^ keyset.Gone
			i++
			if err := c.SetRing(ring); err != nil {
				b.Fatal(err)
			}
		}
	})
}
