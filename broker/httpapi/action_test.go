package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestActions(t *testing.T) {
	type word struct {
		Word string `json:"word"`
	}
	r := start(t, Config{}, Sources{Actions: []Action{
		{http.MethodGet, "/admin/read", func(_ context.Context, body []byte) (any, error) { return word{"read" + string(body)}, nil }},
		{http.MethodPost, "/admin/write", func(_ context.Context, body []byte) (any, error) {
			var w word
			if err := json.Unmarshal(body, &w); err != nil {
				return nil, Refuse(http.StatusBadRequest, "no word: %v", err)
			}
			if w.Word == "broken" {
				return nil, errors.New("it broke")
			}
			return w, nil
		}},
	}})
	for _, x := range []struct {
		method, path, kind, body string
		status                   int
		want                     string
	}{
		{"GET", "/admin/read", "", "", 200, `{"word":"read"}`},
		{"POST", "/admin/read", "application/json", "", 405, "takes GET"},
		{"GET", "/admin/write", "", "", 405, "takes POST"},
		{"POST", "/admin/write", "application/json", `{"word":"w"}`, 200, `{"word":"w"}`},
		{"POST", "/admin/write", "application/json; charset=utf-8", `{"word":"w"}`, 200, `{"word":"w"}`},
		{"POST", "/admin/write", "application/json", "", 400, "no word"},
		{"POST", "/admin/write", "application/json", `{"word":"broken"}`, 500, "it broke"},
		// What a form in a browser can send.
		{"POST", "/admin/write", "text/plain", `{"word":"w"}`, 415, "say Content-Type: application/json"},
		{"POST", "/admin/write", "application/x-www-form-urlencoded", `{"word":"w"}`, 415, "takes JSON"},
		{"POST", "/admin/write", "", `{"word":"w"}`, 415, "takes JSON"},
	} {
		req, err := http.NewRequest(x.method, "http://"+r.addr+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatal(err)
		}
		if x.kind != "" {
			req.Header.Set("Content-Type", x.kind)
		}
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != x.status || !strings.Contains(string(got), x.want) {
			t.Errorf("%s %s %s: %d %s, %v; want %d %s", x.method, x.path, x.kind, resp.StatusCode, got, err, x.status, x.want)
		}
	}
}
