package region

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The round trips that the files' comments name.
func TestBuiltinTopologies(t *testing.T) {
	want := map[string]map[string]time.Duration{
		"same-zone":   {"n1 n2": 90 * time.Microsecond, "n1 n3": 90 * time.Microsecond, "n2 n3": 90 * time.Microsecond},
		"zones-3":     {"n1 n2": 2010 * time.Microsecond, "n1 n3": 2210 * time.Microsecond, "n2 n3": 2160 * time.Microsecond},
		"continent-3": {"n1 n2": 13 * time.Millisecond, "n1 n3": 29 * time.Millisecond, "n2 n3": 27 * time.Millisecond},
		"far-3":       {"n1 n2": 70 * time.Millisecond, "n1 n3": 70 * time.Millisecond, "n2 n3": 70 * time.Millisecond},
		"world-3":     {"n1 n2": 91 * time.Millisecond, "n1 n3": 166 * time.Millisecond, "n2 n3": 229500 * time.Microsecond},
		"world-5": {"n1 n2": 91 * time.Millisecond, "n1 n3": 166 * time.Millisecond, "n1 n4": 215 * time.Millisecond, "n1 n5": 118500 * time.Microsecond,
			"n2 n3": 229500 * time.Microsecond, "n2 n4": 250 * time.Millisecond, "n2 n5": 197500 * time.Microsecond, "n3 n4": 115 * time.Millisecond,
			"n3 n5": 284500 * time.Microsecond, "n4 n5": 327500 * time.Microsecond},
	}
	for _, name := range Names() {
		top, err := Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if top.Name != name || len(want[name]) != len(top.Hosts)*(len(top.Hosts)-1)/2 {
			t.Errorf("%s: named %q with %d hosts, and %d round trips are known", name, top.Name, len(top.Hosts), len(want[name]))
		}
		for pair, rtt := range want[name] {
			from, to, _ := strings.Cut(pair, " ")
			a, b := top.Index(from), top.Index(to)
			if got := top.Path(a, b).Delay + top.Path(b, a).Delay; got != rtt {
				t.Errorf("%s: %s is %v there and back, want %v", name, pair, got, rtt)
			}
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
}

const mine = `jitter_ms = 2
loss_percent = 1
bandwidth_mbit = 80
between = [
  { regions = ["east", "west"], one_way = true, delay_ms = 30, loss_percent = 3 },
  { regions = ["west", "east"], one_way = true, delay_ms = 40, jitter_ms = 5, bandwidth_mbit = 8 },
]
[[regions]]
name = "east"
zones = ["a", "b"]
same_zone_delay_ms = 0.1
between = [ { zones = ["b", "a"], delay_ms = 1 } ]
[[regions]]
name = "west"
[[hosts]]
name = "n1"
region = "east"
zone = "a"
[[hosts]]
name = "n2"
region = "east"
zone = "b"
[[hosts]]
name = "n3"
region = "east"
zone = "b"
[[hosts]]
name = "n4"
region = "west"
`

func TestPaths(t *testing.T) {
	file := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(file, []byte(mine), 0o644); err != nil {
		t.Fatal(err)
	}
	top, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if top.Congestion() != DefaultCongestionControl {
		t.Errorf("congestion control %q, want %s if nothing is said", top.Congestion(), DefaultCongestionControl)
	}
	if own, err := Parse(file, []byte("congestion_control = \"bbr\"\n"+mine)); err != nil || own.Congestion() != "bbr" {
		t.Errorf("a topology with bbr: %v", err)
	}
	if top.Name != "own" || len(top.HostsOf("east")) != 3 || top.HostsOf("west")[0] != "n4" {
		t.Errorf("%q has %v in the east and %v in the west", top.Name, top.HostsOf("east"), top.HostsOf("west"))
	}
	for _, c := range []struct {
		from, to string
		want     Path
	}{
		{"n1", "n1", Path{}},
		{"n1", "n2", Path{time.Millisecond, 2 * time.Millisecond, 0.01, 1e7}},
		{"n2", "n1", Path{time.Millisecond, 2 * time.Millisecond, 0.01, 1e7}},
		{"n2", "n3", Path{100 * time.Microsecond, 2 * time.Millisecond, 0.01, 1e7}},
		{"n1", "n4", Path{30 * time.Millisecond, 2 * time.Millisecond, 0.03, 1e7}},
		{"n4", "n1", Path{40 * time.Millisecond, 5 * time.Millisecond, 0.01, 1e6}},
	} {
		if got := top.Path(top.Index(c.from), top.Index(c.to)); got != c.want {
			t.Errorf("%s to %s: %+v, want %+v", c.from, c.to, got, c.want)
		}
	}
}

func TestErrorsSayWhatWouldBeRight(t *testing.T) {
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(mine) }
	many := mine
	for i := range MostHosts {
		many += "[[hosts]]\nname = \"m" + strings.Repeat("x", i) + "\"\nregion = \"west\"\n"
	}
	for _, c := range []struct{ text, want string }{
		{change("jitter_ms = 2", "jiter_ms = 2"), `own.toml:1: unknown key "jiter_ms": did you mean "jitter_ms"?`},
		{change("delay_ms = 1 }", "delay = 1 }"), `own.toml:12: unknown key "regions.`},
		{change("same_zone_delay_ms = 0.1", "same_zone_delay_ms = -0.1"), `region "east", within a zone: delay_ms = -0.1: want 0 to 10000`},
		{change("delay_ms = 30", "delay_ms = -30"), `from east to west: delay_ms = -30: want 0 to`},
		{change("delay_ms = 30", "delay_ms = nan"), `from east to west: delay_ms = NaN`},
		{change("jitter_ms = 2", "jitter_ms = -2"), `the topology: jitter_ms = -2`},
		{change("loss_percent = 1", "loss_percent = 100"), `loss_percent = 100: want 0 to less than 100`},
		{change("bandwidth_mbit = 8 ", "bandwidth_mbit = -8 "), `from west to east: bandwidth_mbit = -8: want 0 (no limit) or more`},
		{change(`["west", "east"]`, `["west", "eest"]`), `between, entry 2: region "eest" is not there: did you mean "east"? (there are east, west)`},
		{change(`["west", "east"]`, `["west"]`), `between, entry 2: regions = ["west"]: want two`},
		{change(`["west", "east"]`, `["west", "west"]`), `is one region: want two different ones`},
		{change(`["b", "a"]`, `["b", "c"]`), `region "east": between, entry 1: zone "c" is not there`},
		{change("one_way = true, delay_ms = 40", "delay_ms = 40"), `the distance from east to west is given twice, 30 ms and 40 ms: want it once, for both ways; ` +
			`if the two ways differ, one_way = true in both`},
		{change(`  { regions = ["west", "east"], one_way = true, delay_ms = 40, jitter_ms = 5, bandwidth_mbit = 8 },`, ""),
			`no distance from west to east: want { regions = ["west", "east"], delay_ms = … } in between`},
		{change(`between = [ { zones = ["b", "a"], delay_ms = 1 } ]`, ""), `region "east": no distance from a to b: want { zones`},
		{change(`name = "n4"`, `name = "n1"`), `host "n1" is listed twice`},
		{change(`name = "n4"`, `name = "N 4"`), `host name "N 4": want a lower-case word`},
		{change("\"n4\"\nregion = \"west\"", "\"n4\"\nregion = \"vest\""), `host "n4": region "vest" is not there: did you mean "west"?`},
		{change("\"n4\"\nregion = \"west\"", "\"n4\"\nregion = \"east\""), `host "n4": no zone: want one of a, b`},
		{change("zone = \"a\"", "zone = \"z\""), `host "n1": zone "z" is not there`},
		{change(`name = "west"`, `name = "east"`), `region "east" is listed twice`},
		{change(`["a", "b"]`, `["a", "a"]`), `region "east": zone "a" is listed twice`},
		{"congestion_control = \"Cubic!\"\n" + mine, `congestion_control = "Cubic!": want a name of /proc/sys/net/ipv4/tcp_available_congestion_control, like "cubic"`},
		{"", `no [[regions]]`},
		{"[[regions]]\nname = \"a\"\n[[hosts]]\nname = \"n\"\nregion = \"a\"\n", `1 [[hosts]]: want at least two`},
		{many, `258 [[hosts]]: want at most 254, which is how many addresses there are for them`},
	} {
		_, err := Parse("own.toml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v\nwant an error that contains %q", err, c.want)
		}
	}
	// A pair that is missing altogether is told once.
	_, err := Parse("own.toml", []byte(change(`between = [ { zones = ["b", "a"], delay_ms = 1 } ]`, "")))
	if n := strings.Count(err.Error(), "no distance"); n != 1 {
		t.Errorf("told %d times: %v", n, err)
	}
	if _, err := Load("world-4"); err == nil || !strings.Contains(err.Error(), "there are continent-3, far-3, same-zone, world-3, world-5, zones-3") {
		t.Errorf("got %v, want the names that there are", err)
	}
}
