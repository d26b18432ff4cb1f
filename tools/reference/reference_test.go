package reference

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ackline/broker/node/config"
	"ackline/profiles"
)

const root = "../.."

func sections(t *testing.T) []Section {
	t.Helper()
	s, err := Sections(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPageIsGenerated(t *testing.T) {
	want := Page(sections(t))
	if got, err := os.ReadFile(filepath.Join(root, File)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the structs say (%v): run go generate ./tools/reference", File, err)
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sections(t) {
		for _, k := range s.Keys {
			seen[k.Name] = true
			if k.Means == "" {
				t.Errorf("%s: its field has no comment", k.Name)
			}
			if k.Advice == "" {
				t.Errorf("%s: advice.go does not say when to change it", k.Name)
			}
		}
	}
	for name := range advice {
		if !seen[name] {
			t.Errorf("advice about %s, which there is not", name)
		}
	}
}

// keysOf are all keys below a struct, tables of tables included.
func keysOf(t reflect.Type, seen map[reflect.Type]int) {
	for i := range t.NumField() {
		f := t.Field(i)
		if tag := f.Tag.Get("toml"); tag == "" || tag == "-" {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			keysOf(inner, seen)
		} else {
			seen[t]++
		}
	}
}

// TestNoTableIsMissing: the page has every key that the files can have.
func TestNoTableIsMissing(t *testing.T) {
	want := map[reflect.Type]int{}
	for _, whole := range []any{config.Config{}, profiles.Topology{}, profiles.Tuning{}, profiles.Workload{}, profiles.Suite{}} {
		keysOf(reflect.TypeOf(whole), want)
	}
	all, got := sections(t), map[reflect.Type]int{}
	for i, s := range sources() {
		got[reflect.TypeOf(s.defaults)] = len(all[i].Keys)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("keys by struct: the page has %v, the files %v", got, want)
	}
}

func TestKeysOfAStruct(t *testing.T) {
	dir := t.TempDir()
	text := "package x\n\ntype T struct {\n\t// RingBytes is large, and Zone beside it. 0: 5.\n\tRingBytes int64\n\tZone string\n\tWaitMs int // how | long\n\tNone bool\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	docs, err := comments(dir, "T")
	if err != nil {
		t.Fatal(err)
	}
	s := source{title: "t", prefix: "t.", defaults: struct {
		RingBytes int64    `toml:"ring_bytes"`
		Zone      string   `toml:"zone"`
		WaitMs    int      `toml:"wait_ms"`
		None      bool     `toml:"none"`
		Pairs     []string `toml:"pairs"`
		Hidden    int      `toml:"-"`
	}{RingBytes: 5, Pairs: []string{"a", "b"}}}
	got := string(Page([]Section{{Title: "t", Keys: s.keys(docs)}}))
	for _, line := range []string{
		"| `ring_bytes` | bytes | `5` | large, and `zone` beside it. 0: 5. |  |",
		"| `zone` | text | – | `ring_bytes` is large, and `zone` beside it. 0: 5. |  |",
		"| `wait_ms` | ms | `0` | how \\| long |  |",
		"| `none` | true or false | `false` |  |  |",
		"| `pairs` | list of text | `[\"a\", \"b\"]` |  |  |",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %s in\n%s", line, got)
		}
	}
	if _, err := comments(dir, "U"); err == nil {
		t.Error("a struct that is not there was found")
	}
}
