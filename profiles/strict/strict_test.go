package strict

import (
	"strings"
	"testing"
)

type inner struct {
	ShardBytes int `toml:"shard_bytes"`
	ShardCount int `toml:"shard_count"`
}

type outer struct {
	Name   string  `toml:"name"`
	Table  inner   `toml:"table"`
	Tables []inner `toml:"tables"`
	Hidden int     `toml:"-"`
	embedded
}

type embedded struct {
	Depth int `toml:"depth"`
}

func TestDecode(t *testing.T) {
	var o outer
	if err := Decode("a.toml", "thing", []byte("name = \"x\"\n[table]\nshard_count = 3\n[[tables]]\nshard_bytes = 4\n"), &o); err != nil {
		t.Fatal(err)
	}
	if o.Name != "x" || o.Table.ShardCount != 3 || len(o.Tables) != 1 || o.Tables[0].ShardBytes != 4 {
		t.Errorf("decoded %+v", o)
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"nam = 1\n", []string{`a.toml:1: unknown key "nam"`, `did you mean "name"?`, "a thing has: depth, name, table, tables"}},
		{"name = \"x\"\n\n[table]\nshard_cuont = 3\n", []string{`a.toml:4: unknown key "table.shard_cuont"`, `"shard_count"`, "has: shard_bytes, shard_count"}},
		{"[[tables]]\nshard_bites = 3\n", []string{`a.toml:2: unknown key "tables.shard_bites"`, `"shard_bytes"`}},
		{"[tabel]\nshard_count = 3\n", []string{`a.toml:`, `"table"`}},
		{"hidden = 3\n", []string{`a.toml:1: unknown key "hidden"`}},
		{"a = 1\nb = 2\n", []string{"a.toml:1", "a.toml:2"}},
		{"name = 5\n", []string{"a.toml:1:8: "}},
		{"name = \n", []string{"a.toml:1:"}},
	} {
		err := Decode("a.toml", "thing", []byte(c.text), &outer{})
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %v\nwant an error that contains %q", c.text, err, want)
			}
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
