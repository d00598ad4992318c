// Package sbom holds the bill of materials that `make sbom` writes to CycloneDX's schema and to the binary that it is of.
package sbom_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestBillOfMaterials is run by `make sbom`, which names the bill, the binary, and the folder of the schemas.
func TestBillOfMaterials(t *testing.T) {
	bill, binary, schemas := os.Getenv("XTEAM_TEST_SBOM"), os.Getenv("XTEAM_TEST_SBOM_BINARY"), os.Getenv("XTEAM_TEST_SBOM_SCHEMAS")
	if bill == "" {
		t.Skip("XTEAM_TEST_SBOM is not set: make sbom runs this")
	}
	text, err := os.ReadFile(bill)
	if err != nil {
		t.Fatal(err)
	}
	valid(t, text, schemas)
	var doc struct {
		Metadata struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version, Purl string }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	built := linked(t, binary)
	if c := doc.Metadata.Component; c.Name != "github.com/xteam/xteam" || c.Version != built.Version {
		t.Errorf("the bill is of %s %s, the binary of %s", c.Name, c.Version, built.Version)
	}
	var got []string
	for _, c := range doc.Components {
		if !strings.HasPrefix(c.Purl, "pkg:golang/"+c.Name+"@"+c.Version) {
			t.Errorf("%s %s has the address %s", c.Name, c.Version, c.Purl)
		}
		got = append(got, c.Name+" "+c.Version)
	}
	slices.Sort(got)
	if diff := cmp.Diff(built.modules(), got); diff != "" {
		t.Errorf("the bill is not of what is linked (-binary +bill):\n%s", diff)
	}
}

// valid holds a document to the schema of CycloneDX 1.6 and to the two that it refers to.
func valid(t *testing.T, text []byte, folder string) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for id, name := range map[string]string{"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		file, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+id, schema); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("the bill is not as its schema demands: %v", err)
	}
	delete(doc.(map[string]any), "bomFormat")
	if schema.Validate(doc) == nil {
		t.Error("the schema takes a bill without its format too: then it tells nothing")
	}
}

// program is what a binary says of itself.
type program struct {
	Version, Go string
	Deps        []struct{ Path, Version string }
}

func linked(t *testing.T, binary string) (p program) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, "version", "--deps", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// modules are the linked ones with their versions, and the standard library, in order.
func (p program) modules() []string {
	all := []string{"std " + p.Go}
	for _, d := range p.Deps {
		all = append(all, d.Path+" "+d.Version)
	}
	slices.Sort(all)
	return all
}
