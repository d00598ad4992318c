package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const files = "/api/v1/files"

// form is a multipart body with a file of so many bytes, and its type.
func form(size int) (body []byte, kind string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, _ := w.CreateFormFile("file", fmt.Sprintf("%d.md", size))
	_, _ = part.Write(bytes.Repeat([]byte{'x'}, size))
	_ = w.Close()
	return b.Bytes(), w.FormDataContentType()
}

// upload sends a file, and answers its id once that is acknowledged.
func (s *server) upload(access string, size int) (string, error) {
	body, kind := form(size)
	req, err := http.NewRequest(http.MethodPost, s.base+files, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Authorization", "Bearer "+access)
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var made struct{ ID string }
	if err := json.Unmarshal(text, &made); err != nil || res.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("upload: %d %s", res.StatusCode, text)
	}
	return made.ID, nil
}

// uploads are the sizes of the files that are listed, by id.
func (s *server) uploads(access string) map[string]int {
	s.t.Helper()
	all := map[string]int{}
	for cursor := ""; ; {
		got := s.want(http.StatusOK, http.MethodGet, files+"?limit=100&cursor="+cursor, access, nil)
		var page struct {
			Items []struct {
				ID   string
				Size int
			}
			Next *string
		}
		if err := json.Unmarshal([]byte(got.Text), &page); err != nil {
			s.t.Fatal(err)
		}
		for _, f := range page.Items {
			all[f.ID] = f.Size
		}
		if page.Next == nil {
			return all
		}
		cursor = *page.Next
	}
}

// onDisk are the sizes of all files below a folder, by name.
func onDisk(t *testing.T, folder string) map[string]int {
	t.Helper()
	all := map[string]int{}
	err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "mark" {
			var at fs.FileInfo
			if at, err = d.Info(); err == nil {
				all[d.Name()] = int(at.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // moved meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestUploadsCutOff: an upload whose connection ends at any of 50 places leaves no file, and takes no space.
func TestUploadsCutOff(t *testing.T) {
	folder := t.TempDir()
	env := environ(folder)
	admin(t, env)
	s := serve(t, env)
	access := s.signIn("admin@example.com").Access
	kept, err := s.upload(access, 1000)
	if err != nil {
		t.Fatal(err)
	}
	body, kind := form(300_000)
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", files, access, kind, len(body))
	for range 50 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		offset := rand.IntN(len(body) - 1)
		if _, err := io.WriteString(c, head+string(body[:offset])); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all that was cut off is gone", func() bool {
		got := onDisk(t, filepath.Join(folder, "files"))
		return len(got) == 1 && got[kept] == 1000
	})
	if got := s.uploads(access); len(got) != 1 || got[kept] != 1000 {
		t.Errorf("listed: %v, want the one that is whole", got)
	}
}

// TestUploadsKilled: the process is killed 20 times while files are uploaded and deleted. After each restart what was acknowledged is there, whole, what was deleted is not, and on the disk is
// what is listed, byte for byte of space, and nothing else.
func TestUploadsKilled(t *testing.T) {
	folder := t.TempDir()
	env := environ(folder)
	admin(t, env)
	s := serve(t, env)
	access := s.signIn("admin@example.com").Access
	var mu sync.Mutex
	there, gone := map[string]int{}, map[string]bool{} // acknowledged
	unsure := map[string]bool{}                        // a deletion was asked for, and not acknowledged
	leftovers := 0
	for round := range 20 {
		acks, enough := 0, 2+rand.IntN(20)
		reached := make(chan struct{})
		ack := func() {
			if acks++; acks == enough {
				close(reached)
			}
		}
		var load sync.WaitGroup
		for w := range 4 {
			load.Go(func() {
				for n := 0; ; n++ {
					size := (w*7919 + n*104_729) % 200_000
					fid, err := s.upload(access, size)
					if err != nil {
						return
					}
					mu.Lock()
					there[fid] = size
					ack()
					drop := n%3 != 0
					if drop {
						unsure[fid] = true
					}
					mu.Unlock()
					if !drop {
						continue
					}
					got, err := s.call(http.MethodDelete, files+"/"+fid, access, nil)
					if err != nil {
						return
					}
					if got.Status != http.StatusNoContent {
						t.Errorf("delete: %d %s", got.Status, got.Text)
					}
					mu.Lock()
					delete(unsure, fid)
					delete(there, fid)
					gone[fid] = true
					ack()
					mu.Unlock()
				}
			})
		}
		<-reached
		<-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond)
		if err := s.end(os.Kill); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the server ended with %v, want it killed", err)
		}
		load.Wait()
		leftovers += len(onDisk(t, filepath.Join(folder, "files", "doubt")))
		s = serve(t, env)
		listed := s.uploads(access)
		disk := onDisk(t, filepath.Join(folder, "files"))
		for fid, size := range there {
			if got, ok := listed[fid]; unsure[fid] && !ok {
				delete(there, fid)
			} else if !ok || got != size {
				t.Errorf("round %d: a file of %d bytes was acknowledged: listed %v, of %d", round, size, ok, got)
			}
		}
		for fid := range gone {
			if _, ok := listed[fid]; ok {
				t.Errorf("round %d: a file is listed that was deleted", round)
			}
		}
		if len(listed) != len(disk) {
			t.Errorf("round %d: %d files are listed, and %d are on the disk", round, len(listed), len(disk))
		}
		for fid, size := range listed {
			if got, ok := disk[fid]; !ok || got != size {
				t.Errorf("round %d: a file of %d bytes is listed: on the disk %v, of %d", round, size, ok, got)
			}
			there[fid] = size // also what was on its way to an acknowledgement
		}
		clear(unsure)
		if t.Failed() {
			t.FailNow()
		}
	}
	n := 0
	for fid, size := range there {
		if got := s.want(http.StatusOK, http.MethodGet, files+"/"+fid, access, nil); got.Text != strings.Repeat("x", size) {
			t.Errorf("the content of a file of %d bytes has %d", size, len(got.Text))
		}
		n++
	}
	t.Logf("%d files are there, %d were deleted; %d were in doubt when a server was killed", n, len(gone), leftovers)
	if leftovers == 0 {
		t.Error("no server was killed while a file was in doubt: the test shows nothing")
	}
}

// TestAnotherUploadDir: a server that would keep files in another folder than its database's are in does not start, and xteam doctor says so; the other commands work. Files that are moved with their mark are found
// again, and whoever has lost them marks a folder by hand.
func TestAnotherUploadDir(t *testing.T) {
	folder, place := t.TempDir(), t.TempDir()
	in := func(at string) []string { return append(environ(folder), "UPLOAD_DIR="+at) }
	doctor := func(at string) string { return xteam(t, in(at), "", "doctor").out }
	first, empty, moved := filepath.Join(place, "first"), filepath.Join(place, "empty"), filepath.Join(place, "moved")
	admin(t, in(first))
	if got := doctor(first); !strings.Contains(got, "files.folder      "+first+" is not there yet") && !strings.Contains(got, "no file was ever put into "+first) {
		t.Errorf("doctor before the first start says:\n%s", got)
	}
	s := serve(t, in(first))
	kept, err := s.upload(s.signIn("admin@example.com").Access, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.end(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	mark, err := os.ReadFile(filepath.Join(first, "mark"))
	if err != nil {
		t.Fatal(err)
	}
	digits := strings.TrimSpace(string(mark))
	for _, at := range []string{empty, empty} { // once it is not there, and then empty
		r := xteam(t, in(at), "", "serve")
		if r.code == 0 || !strings.Contains(r.err, "UPLOAD_DIR: "+at+": this is not where the files of this database were written to") || !strings.Contains(r.err, "write "+digits+" into "+filepath.Join(at, "mark")) {
			t.Errorf("with another folder: exit %d, %s", r.code, r.err)
		}
		if got := doctor(at); !strings.Contains(got, "fail     files.folder") || !strings.Contains(got, digits) {
			t.Errorf("doctor says:\n%s", got)
		}
	}
	must(t, in(empty), "", "users", "list")
	if r := xteam(t, environ(folder), "", "serve"); r.code == 0 || !strings.Contains(r.err, filepath.Join(folder, "files")+": this is not where") {
		t.Errorf("without UPLOAD_DIR: exit %d, %s", r.code, r.err)
	}
	if err := os.Rename(first, moved); err != nil {
		t.Fatal(err)
	}
	s = serve(t, in(moved))
	if got := s.uploads(s.signIn("admin@example.com").Access); got[kept] != 1000 {
		t.Errorf("where the files were moved to: %v", got)
	}
	if err := s.end(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(empty, "mark"), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	s = serve(t, in(empty))
	if got := doctor(empty); !strings.Contains(got, "pass     files.folder") {
		t.Errorf("doctor says of a folder that was marked by hand:\n%s", got)
	}
	if err := s.end(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}
