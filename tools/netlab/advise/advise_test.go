package advise

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/profiles/region"
)

// topology has a host in each region, n1 in the first, and a distance for each ordered pair, in ms, row by row.
func topology(t *testing.T, regions string, oneWay ...float64) *region.Topology {
	t.Helper()
	top := &region.Topology{Name: "by-hand"}
	names := strings.Fields(regions)
	for i, a := range names {
		top.Regions = append(top.Regions, region.Region{Name: a})
		top.Hosts = append(top.Hosts, region.Host{Name: fmt.Sprintf("n%d", i+1), Region: a})
		for j, b := range names {
			if i != j {
				top.Between = append(top.Between, region.Link{Regions: []string{a, b}, Distance: region.Distance{DelayMs: oneWay[i*len(names)+j], OneWay: true}})
			}
		}
	}
	if err := top.Validate(); err != nil {
		t.Fatal(err)
	}
	return top
}

func advise(t *testing.T, top *region.Topology, cfg Config) *Result {
	t.Helper()
	r, err := Advise(top, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rows are the placements as "leader: commit slowest | latency of each client | mean worst", in ms.
func rows(r *Result) (out []string) {
	for _, p := range r.Placements {
		row := fmt.Sprintf("%s: %v %s |", p.Leader, p.Commit.Seconds()*1e3, p.Slowest)
		for _, d := range p.Latency {
			row += fmt.Sprintf(" %v", d.Seconds()*1e3)
		}
		out = append(out, fmt.Sprintf("%s | %v %s %v", row, p.Mean.Round(time.Millisecond).Milliseconds(), p.WorstClient, p.Worst.Seconds()*1e3))
	}
	return out
}

// losses are "gone: leader commit slowest mean was" of a placement.
func losses(p Placement) (out []string) {
	for _, l := range p.Losses {
		out = append(out, fmt.Sprintf("%s: %s %v %s %v was %v", l.Gone, l.Leader, l.Commit.Seconds()*1e3, l.Slowest, l.Mean.Seconds()*1e3,
			l.Was.Seconds()*1e3))
	}
	return out
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestThreeRegionsByHand(t *testing.T) {
	// Round trips: a-b 20, a-c 40, b-c 50. With a sync of 1, a has the second of 1, 21, 41; b of 1, 21, 51; c of 1, 41, 51.
	top := topology(t, "a b c",
		0, 10, 20,
		10, 0, 25,
		20, 25, 0)
	r := advise(t, top, Config{Sync: time.Millisecond, SyncP99: 4 * time.Millisecond})
	same(t, rows(r), []string{
		"n1: 21 n2 | 21 41 61 | 41 c 61",
		"n2: 21 n1 | 41 21 71 | 44 c 71",
		"n3: 41 n1 | 81 91 41 | 71 b 91",
	})
	// Without a, b and c commit in 51, and the one is as far from the other as the other from the one. They had 41 and 61.
	same(t, losses(r.Placements[0]), []string{"a: n2 51 n3 76 was 51", "b: n1 41 n3 61 was 41", "c: n1 21 n2 31 was 31"})
	if p := r.Placements[0]; p.RTTOnly != 40*time.Millisecond || p.Slow != 44*time.Millisecond || r.RTTOnly != p.RTTOnly || r.Looked != 3 || r.Majority != 2 {
		t.Errorf("by RTT %v (least %v), slow %v, %d looked at, majority %d; want 40ms, 44ms, 3, 2", p.RTTOnly, r.RTTOnly, p.Slow, r.Looked, r.Majority)
	}
	const want = "put the leader on n1 (a): writes commit from a in 21.000 ms, from b in 41.000 ms, from c in 61.000 ms; " +
		"n2 (b) is the slowest quorum member that counts (2 of 3)"
	if r.Advice != want {
		t.Errorf("advice\n%s\nwant\n%s", r.Advice, want)
	}
	// Who produces decides.
	r = advise(t, top, Config{Sync: time.Millisecond, Producers: []Producer{{"b", 0.75}, {"a", 0.25}}})
	same(t, rows(r), []string{
		"n2: 21 n1 | 41 21 71 | 26 a 41",
		"n1: 21 n2 | 21 41 61 | 36 b 41",
		"n3: 41 n1 | 81 91 41 | 89 b 91",
	})
	if l := advise(t, top, Config{Producers: []Producer{{"a", 1}}}).Placements[0].Losses[0]; l.Producers || l.Leader != "n2" || l.Mean != 0 || l.Was != 0 {
		t.Errorf("without all producers: %+v", l)
	}
}

func TestAsymmetric(t *testing.T) {
	// Round trips: a-b 10+30, a-c 5+20, b-c 40+1.
	there := []float64{
		0, 10, 5,
		30, 0, 40,
		20, 1, 0}
	want := []string{
		"n1: 26 n3 | 26 66 51 | 48 b 66", // of 1, 41, 26
		"n3: 26 n1 | 51 67 26 | 48 b 67", // of 1, 26, 42
		"n2: 41 n1 | 81 41 82 | 68 c 82", // of 1, 41, 42
	}
	same(t, rows(advise(t, topology(t, "a b c", there...), Config{Sync: time.Millisecond})), want)
	back := []float64{
		0, 30, 20,
		10, 0, 1,
		5, 40, 0}
	same(t, rows(advise(t, topology(t, "a b c", back...), Config{Sync: time.Millisecond})), want)
}

// Two followers outrun a leader with a slow disk, and a slow follower does not count.
func TestSlowDisks(t *testing.T) {
	top := topology(t, "a b c",
		0, 10, 20,
		10, 0, 25,
		20, 25, 0)
	r := advise(t, top, Config{Sync: time.Millisecond, SyncOf: map[string]time.Duration{"n1": 100 * time.Millisecond}, Producers: []Producer{{"a", 1}}})
	same(t, rows(r), []string{
		"n1: 41 n3 | 41 61 81 | 41 a 41",
		"n2: 51 n3 | 71 51 101 | 71 a 71",
		"n3: 51 n2 | 91 101 51 | 91 a 91",
	})
}

// four has two hosts in one region, apart by 1 ms, and one in each of two others; nobody has a host in the fifth place.
func four(t *testing.T) *region.Topology {
	t.Helper()
	top, err := region.Parse("four.toml", []byte(`jitter_ms = 2
between = [
  { regions = ["a", "b"], delay_ms = 10 },
  { regions = ["a", "c"], delay_ms = 20 },
  { regions = ["b", "c"], delay_ms = 25 },
]
[[regions]]
name = "a"
zones = ["x", "y", "z"]
same_zone_delay_ms = 0.5
between = [{ zones = ["x", "y"], delay_ms = 1 }, { zones = ["x", "z"], delay_ms = 2 }, { zones = ["y", "z"], delay_ms = 3 }]
[[regions]]
name = "b"
[[regions]]
name = "c"
[[hosts]]
name = "n1"
region = "a"
zone = "x"
[[hosts]]
name = "n2"
region = "a"
zone = "y"
[[hosts]]
name = "n3"
region = "b"
[[hosts]]
name = "n4"
region = "c"
`))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func TestSets(t *testing.T) {
	top := four(t)
	cfg := Config{Replicas: 3, Producers: []Producer{{"a/z", 1}}}
	r := advise(t, top, cfg)
	p := r.Placements[0]
	// Clients of z are 4 from n1, there and back; n1 and n2 are a majority in 2. As the third voter, n3 is nearer than n4 after a loss.
	if p.Leader != "n1" || !slices.Equal(p.Voters, []string{"n1", "n2", "n3"}) || p.Mean != 6*time.Millisecond || r.Looked != 12 {
		t.Errorf("%s of %v in %v, %d looked at; want n1 of n1, n2, n3 in 6ms, 12", p.Leader, p.Voters, p.Mean, r.Looked)
	}
	same(t, losses(p), []string{"a:  0  0 was 0", "a/x: n2 20 n3 26 was 6", "a/y: n1 20 n3 24 was 6", "b: n1 2 n2 6 was 6"})
	if want := "put replicas on n1, n2, n3 and the leader on n1 (a/x): writes commit from a/z in 6.000 ms; n2 (a/y) is the slowest"; !strings.HasPrefix(r.Advice, want) {
		t.Errorf("advice %q", r.Advice)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "jitter of up to 2ms") {
		t.Errorf("notes %q", r.Notes)
	}
	cfg.SurviveRegion = true
	r = advise(t, top, cfg)
	p = r.Placements[0]
	if p.Leader != "n1" || !slices.Equal(p.Voters, []string{"n1", "n3", "n4"}) || p.Mean != 24*time.Millisecond || r.Looked != 6 {
		t.Errorf("survives a region: %s of %v in %v, %d looked at; want n1 of n1, n3, n4 in 24ms, 6", p.Leader, p.Voters, p.Mean, r.Looked)
	}
	// A client beside the only host of its zone is still another machine.
	if i := slices.IndexFunc(r.Clients, func(c Client) bool { return c.Name == "a/x" }); p.Latency[i] != 21*time.Millisecond {
		t.Errorf("from a/x in %v, want 20 ms and half of one each way", p.Latency[i])
	}
}

// Of sets that are as fast, that one is taken which leaves a copy elsewhere.
func TestNotAllInOneRegion(t *testing.T) {
	top := topology(t, "a b", 0, 10, 10, 0)
	top.Hosts = slices.Insert(top.Hosts, 1, region.Host{Name: "n3", Region: "a"}, region.Host{Name: "n4", Region: "a"}) // all of a come first
	p := advise(t, top, Config{Replicas: 3, Producers: []Producer{{"a", 1}}}).Placements[0]
	if p.Mean != 0 || !slices.Equal(p.Voters, []string{"n1", "n3", "n2"}) || p.Losses[0].Left != 1 {
		t.Errorf("%v in %v, %+v; want n1, n3, n2, of which n2 is in b", p.Voters, p.Mean, p.Losses)
	}
}

func TestPrint(t *testing.T) {
	var b bytes.Buffer
	if err := advise(t, four(t), Config{Replicas: 3, Producers: []Producer{{"a", 1}}}).Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"four: 3 of 4 hosts vote, a majority is 2; looked at 12 placements", "n1 (a/x)      n1 n2 n3     2.000     3.000     4.000",
		"  a                   no majority (1 of 3 voters left): nothing is acknowledged until it is back\n", "by round trips alone", "Note: jitter",
		"its share                            33.3%     33.3%     33.3%        0%        0%\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func TestErrors(t *testing.T) {
	many := four(t)
	for i := range 60 {
		many.Hosts = append(many.Hosts, region.Host{Name: fmt.Sprintf("m%d", i), Region: "b"})
	}
	for _, c := range []struct {
		top  *region.Topology
		cfg  Config
		want string
	}{
		{four(t), Config{Producers: []Producer{{"d", 1}}}, `region "d" is not in four: there are a/x, a/y, a/z, b, c`},
		{four(t), Config{Producers: []Producer{{"a/w", 1}}}, `region "a/w" is not in four`},
		{four(t), Config{Producers: []Producer{{"a", 0.5}, {"b", 0.4}}}, `the shares add up to 0.9: want 1 (or 100%)`},
		{four(t), Config{Producers: []Producer{{"a", 0.5}, {"a", 0.5}}}, `"a" is listed twice`},
		{four(t), Config{Producers: []Producer{{"a", -1}, {"b", 2}}}, `a has a share of -1: want 0 to 1`},
		{four(t), Config{Replicas: 5}, `5 replicas: four has 4 hosts: want 1 to 4, or all`},
		{four(t), Config{Replicas: -1}, `-1 replicas`},
		{four(t), Config{Replicas: 2, SurviveRegion: true}, `no set of 2 replicas on four keeps a majority (2) whichever region goes away: no region may have more than 0`},
		{four(t), Config{Sync: -1}, `want nothing negative`},
		{four(t), Config{Sync: 2, SyncP99: 1}, `a sync takes 2ns, its p99 is 1ns`},
		{four(t), Config{SyncOf: map[string]time.Duration{"n9": 1}}, `host "n9": it is not in four: there are n1, n2, n3, n4`},
		{many, Config{Replicas: 5}, `5 of 64 hosts are placed in more than 1000000 ways`},
	} {
		if r, err := Advise(c.top, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, %v\nwant an error that contains %q", r, err, c.want)
		}
	}
	if _, err := Advise(many, Config{Replicas: 64, SurviveRegion: false}); err != nil {
		t.Errorf("all of many are one set: %v", err)
	}
}
