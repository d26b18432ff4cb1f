package topicconfig

import (
	"slices"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	sorted := slices.IsSortedFunc(keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	if !sorted {
		t.Error("the table is not ascending by name; Lookup needs it so")
	}
	into := map[*int64]string{}
	var s Settings
	for _, k := range Keys() {
		if found, ok := Lookup(k.Name); !ok || found.Name != k.Name {
			t.Errorf("%s cannot be looked up", k.Name)
		}
		if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: the description %q is no sentence", k.Name, k.Doc)
		}
		if _, err := k.Parse(k.Default); err != nil {
			t.Errorf("the default: %v", err)
		}
		number := k.Type == Int || k.Type == Long
		if k.text != nil && (number || len(k.values) > 0 || k.Default != "") {
			t.Errorf("%s is a name, and something else", k.Name)
		}
		if number != (k.setting != nil) || number == (len(k.values) > 0 || k.text != nil) || (number && k.min >= k.max) {
			t.Errorf("%s is neither a number with a range nor a choice", k.Name)
		}
		if number {
			if other := into[k.setting(&s)]; other != "" {
				t.Errorf("%s and %s go into one field", k.Name, other)
			}
			into[k.setting(&s)] = k.Name
		}
	}
	if _, ok := Lookup("retention.m"); ok {
		t.Error("half a name was found")
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		key, value string
		want       int64
		ok         bool
	}{
		{"retention.ms", "604800000", 604800000, true},
		{"retention.ms", "-1", -1, true},
		{"retention.ms", "-2", 0, false},
		{"retention.ms", "9223372036854775808", 0, false},
		{"retention.bytes", "1e6", 0, false},
		{"segment.bytes", "4096", 4096, true},
		{"segment.bytes", "4095", 0, false},
		{"segment.bytes", "2147483648", 0, false},
		{"max.message.bytes", "", 0, false},
		{"min.insync.replicas", "0", 0, false},
		{"leader.region", "", 0, true},
		{"leader.region", "eu-central-1", 0, true},
		{"leader.region", "eu central", 0, false},
		{"leader.region", "eu\ncentral", 0, false},
		{"leader.region", strings.Repeat("x", 250), 0, false},
		{"cleanup.policy", "delete", 0, true},
		{"cleanup.policy", "delete,compact", 0, false},
		{"compression.type", "producer", 0, true},
		{"compression.type", "gzip", 0, false},
		{"message.timestamp.type", "CreateTime", 0, true},
		{"message.timestamp.type", "createtime", 0, false},
		{"unclean.leader.election.enable", "true", 0, false},
	} {
		k, found := Lookup(test.key)
		if !found {
			t.Fatalf("%s is not in the table", test.key)
		}
		got, err := k.Parse(test.value)
		if (err == nil) != test.ok || got != test.want {
			t.Errorf("%s=%s: %d, %v", test.key, test.value, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), test.key) || !strings.Contains(err.Error(), "want ")) {
			t.Errorf("%s=%s: %q does not say what would be right", test.key, test.value, err)
		}
	}
}

// TestSettingsOfNewerValues is a topic that a newer version configured.
func TestSettingsOfNewerValues(t *testing.T) {
	got := SettingsOf([]Entry{{Key: "added.later", Value: "x"}, {Key: "cleanup.policy", Value: "compact"},
		{Key: "retention.bytes", Value: "7"}, {Key: "retention.ms", Value: "10 days"}})
	want := SettingsOf(nil)
	want.RetentionBytes = 7
	if got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
}

func TestSettingsHaveNames(t *testing.T) {
	if got := SettingsOf([]Entry{{"leader.region", "tokyo"}}).LeaderRegion; got != "tokyo" {
		t.Errorf("the region is %q", got)
	}
	for _, bad := range [][]Entry{nil, {{"leader.region", "a b"}}, {{"leader.zone", "tokyo"}}} {
		if got := SettingsOf(bad).LeaderRegion; got != "" {
			t.Errorf("%v: the region is %q", bad, got)
		}
	}
}
