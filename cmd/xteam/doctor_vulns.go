package main

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// vulnerability is what is read of an entry of the Go vulnerability database, in the OSV format (ossf.github.io/osv-schema).
type vulnerability struct {
	ID        string     `json:"id"`
	Modified  time.Time  `json:"modified"`
	Withdrawn *time.Time `json:"withdrawn"`
	Affected  []struct {
		Package struct {
			Name      string `json:"name"`
			Ecosystem string `json:"ecosystem"`
		} `json:"package"`
		Ranges []struct {
			Type   string `json:"type"`
			Events []struct {
				Introduced string `json:"introduced"`
				Fixed      string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
	} `json:"affected"`
}

// standard is the module that the database has for the standard library.
const standard = "stdlib"

// staleScan is the age from which a database says little of what is known today.
const staleScan = 30 * 24 * time.Hour

// depsScanned holds the modules of this program against a copy of the vulnerability database. It tells what is linked, not what is called: govulncheck does that, with the sources.
func depsScanned(_ context.Context, p *patient) finding {
	modules := linked()
	const how = "xteam doctor --vulndb vulndb.zip, which is a file of vuln.go.dev"
	if p.vulndb == "" {
		return unseen(how, "the %d modules of this program were held against no vulnerability database", len(modules))
	}
	newest, read, hits, err := scan(p.vulndb, modules)
	switch {
	case err != nil:
		return unseen(how, "the vulnerability database cannot be read: %v", err)
	case read == 0:
		return unseen(how, "%s holds no entry of a vulnerability database", p.vulndb)
	case len(hits) > 0:
		return fail("build a release with the fixed versions; make vulns tells which of them are called", "%s", strings.Join(hits, "; "))
	}
	seen := fmt.Sprintf("%d modules, no known vulnerability of %d entries up to %s", len(modules), read, newest.Format(time.DateOnly))
	if p.now.Sub(newest) > staleScan {
		return warn("fetch a newer database", "%s, which is %d days ago", seen, int(p.now.Sub(newest)/(24*time.Hour)))
	}
	return pass("%s", seen)
}

// linked are the modules of this program with their versions, and the standard library.
func linked() map[string]string {
	modules := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return modules
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	if release, candidate, ok := strings.Cut(version, "rc"); ok {
		version = release + "-rc." + candidate
	}
	modules[standard] = "v" + version
	for _, m := range info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		modules[m.Path] = m.Version
	}
	return modules
}

// scan reads every entry of a database and tells which name one of the modules, when the newest was changed, and how many there are.
func scan(database string, modules map[string]string) (newest time.Time, read int, hits []string, err error) {
	err = eachEntry(database, func(v *vulnerability) {
		read++
		if v.Modified.After(newest) {
			newest = v.Modified
		}
		if v.Withdrawn != nil {
			return
		}
		for _, a := range v.Affected {
			version, ok := modules[a.Package.Name]
			if !ok || a.Package.Ecosystem != "Go" {
				continue
			}
			for _, r := range a.Ranges {
				var events []event
				for _, e := range r.Events {
					if e.Introduced != "" {
						events = append(events, event{at: e.Introduced})
					}
					if e.Fixed != "" {
						events = append(events, event{at: e.Fixed, fixed: true})
					}
				}
				if affected, fixed := inRange(events, version); r.Type == "SEMVER" && affected {
					hits = append(hits, strings.TrimSpace(fmt.Sprintf("%s in %s %s%s", v.ID, a.Package.Name, version, fixed)))
				}
			}
		}
	})
	slices.Sort(hits)
	return newest, read, slices.Compact(hits), err
}

// event is where a range of versions begins, or where it is fixed.
type event struct {
	at    string // without the v
	fixed bool
}

// inRange reports whether a version lies in a range, whose events are in the order of their versions, and which version mends it.
func inRange(events []event, version string) (affected bool, fix string) {
	for _, e := range events {
		at := "v" + e.at
		if e.at == "0" {
			at = "v0.0.0-0"
		}
		if semver.Compare(version, at) >= 0 {
			affected = !e.fixed
		} else if affected && e.fixed && fix == "" {
			fix = " (fixed in " + at + ")"
		}
	}
	return affected, fix
}

// The bounds of a database: an entry, in bytes, and their number.
const (
	maxEntry   = 8 << 20
	maxEntries = 200_000
)

// eachEntry calls f for every entry of a zip file, of a folder, or of a file with one or more. What is no entry, such as an index, is passed over.
func eachEntry(database string, f func(*vulnerability)) error {
	info, err := os.Stat(database)
	if err != nil {
		return plainly(err)
	}
	count := 0
	one := func(r io.Reader) error {
		if count++; count > maxEntries {
			return fmt.Errorf("it has more than %d entries", maxEntries)
		}
		d := json.NewDecoder(io.LimitReader(bufio.NewReader(r), maxEntry))
		for {
			var v vulnerability
			switch err := d.Decode(&v); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return nil //nolint:nilerr // an index, or a list, is no entry
			case v.ID != "" && len(v.Affected) > 0:
				f(&v)
			}
		}
	}
	if info.IsDir() {
		root, err := os.OpenRoot(database)
		if err != nil {
			return plainly(err)
		}
		defer root.Close() //nolint:errcheck // it was only read
		return fs.WalkDir(root.FS(), ".", func(at string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || filepath.Ext(at) != ".json" {
				return plainly(err)
			}
			file, err := root.Open(at)
			if err != nil {
				return plainly(err)
			}
			defer file.Close()
			return one(file)
		})
	}
	file, err := os.Open(database)
	if err != nil {
		return plainly(err)
	}
	defer file.Close()
	archive, err := zip.NewReader(file, info.Size())
	if err != nil {
		return one(file)
	}
	for _, f := range archive.File {
		if filepath.Ext(f.Name) != ".json" || strings.HasPrefix(f.Name, "index/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		err = errors.Join(one(r), r.Close())
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// plainly is a fault of a file without the name of the system call.
func plainly(err error) error {
	var fault *fs.PathError
	if errors.As(err, &fault) {
		return fmt.Errorf("%s: %w", fault.Path, fault.Err)
	}
	return err
}
