package openapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestTheProgramsAnswers: the whole program, with its real key set, metrics, checks and store, answers each GET without a parameter as it describes itself. What else it
// answers the tests of adapters/httpapi hold against the same description.
func TestTheProgramsAnswers(t *testing.T) {
	url := serve(t)
	_, _, text := ask(t, "GET", url+"/openapi.json", "", "")
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	fatal(t, err)
	doc := whole.(map[string]any)
	for _, s := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		s.(map[string]any)["additionalProperties"] = false
	}
	schemas := jsonschema.NewCompiler()
	schemas.AssertFormat()
	fatal(t, schemas.AddResource("openapi.json", doc))
	_, _, text = ask(t, "POST", url+"/api/v1/auth/login", "", `{"username":"root","password":"`+password+`"}`)
	var tokens struct {
		Access string `json:"access_token"`
	}
	fatal(t, json.Unmarshal(text, &tokens))
	seen := 0
	for path, item := range doc["paths"].(map[string]any) {
		op, ok := item.(map[string]any)["get"].(map[string]any)
		if !ok || strings.Contains(path, "{") || op["responses"].(map[string]any)["200"] == nil {
			continue
		}
		content, _ := op["responses"].(map[string]any)["200"].(map[string]any)["content"].(map[string]any)
		if content["text/event-stream"] != nil { // it does not end
			continue
		}
		target := url + path
		switch path { // what must be given
		case "/api/v1/admin/api-keys":
			target += "?user=root"
		case "/graphql":
			target += "?query=%7Bme%7Bid%7D%7D"
		}
		status, kind, text := ask(t, "GET", target, tokens.Access, "")
		media, _, _ := mime.ParseMediaType(kind)
		switch {
		case path == "/setup" && status == 404: // there is an administrator
			continue
		case status != 200:
			t.Errorf("GET %s: %d %s", path, status, text)
		case content == nil && len(text) > 0 || content != nil && content[media] == nil:
			t.Errorf("GET %s: %s, described as %v", path, kind, content)
		case strings.HasSuffix(media, "json"):
			schema, err := schemas.Compile("openapi.json#/paths/" + strings.ReplaceAll(path, "/", "~1") + "/get/responses/200/content/" + strings.ReplaceAll(media, "/", "~1") + "/schema")
			fatal(t, err)
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			fatal(t, err)
			if err := schema.Validate(value); err != nil {
				t.Errorf("GET %s: %s: %v", path, text, err)
			}
		}
		seen++
	}
	if seen < 15 {
		t.Errorf("%d operations were asked", seen)
	}
}

func ask(t *testing.T, method, url, token, body string) (status int, kind string, text []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	fatal(t, err)
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	fatal(t, err)
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	fatal(t, err)
	return res.StatusCode, res.Header.Get("Content-Type"), text
}
