package render

import (
	"strings"
	"testing"

	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
)

// elsewhere is the sample as if its brokers had been on other machines.
func elsewhere(commit, note string) *record.Results {
	r := sample(commit, 1)
	r.Remote = &record.Remote{Hosts: 3, Note: note, Floor: "durable echo of 3 nodes, so the hosts file says", Unknown: []string{"who else used the disks"},
		LeftOut: []record.LeftOut{{Scenario: "failover", Reason: "it kills"}}}
	r.SyncMethod, r.FloorVersion, r.Dir, r.FreeBytes = "", 0, "", 0
	r.Host = fingerprint.New([]fingerprint.Field{{Name: "remote", Value: "3 hosts", Match: true}, {Name: "machines", Value: note, Match: true},
		{Name: "client_cpu", Value: "Client 9", Match: true}, {Name: "client_cpus", Value: "64", Match: true}, {Name: "client_architecture", Value: "arm64", Match: true}})
	for i := range r.Scenarios {
		r.Scenarios[i].Topology = "remote-3"
		r.Scenarios[i].Configuration = nil
	}
	return r
}

// render makes a page and checks that it renders again.
func rendered(t *testing.T, r *record.Results, old *Previous) string {
	t.Helper()
	page, err := File(r, old)
	if err == nil {
		err = Check(page)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// A run on other machines is rendered with what is not known of them, and judged by no bar that is for one machine.
func TestRemotePage(t *testing.T) {
	page := rendered(t, elsewhere("aaaa", "big ones"), nil)
	for _, want := range []string{"**remote: 3 hosts**", "it is said: big ones", "who else used the disks", "failover: it kills", "the client: Client 9, 64 CPUs",
		"on the machines that somebody has prepared for both", "durable echo of 3 nodes, so the hosts file says", "goarch: arm64", "/load=latency-1-64 "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, no := range []string{"on the same disk in turns", "synced with", "| met |", "no floor", "Without a floor"} {
		if strings.Contains(page, no) {
			t.Errorf("the page says %q", no)
		}
	}
}

// Where there was no floor the figures stand alone, and that is said.
func TestRemoteWithoutFloor(t *testing.T) {
	r := elsewhere("aaaa", "big ones")
	r.Remote.Floor = ""
	r.Scenarios[0].FloorIs = ""
	for i := range r.Launches {
		if l := &r.Launches[i]; l.Scenario == r.Scenarios[0].Name {
			l.Pairs = nil
			l.Figures = append(l.Figures, record.Figure{Name: "latency_us_p50", Unit: "us", Side: record.System, Value: 123})
		}
	}
	r.Scenarios = r.Scenarios[:1]
	r.Launches = r.Of(r.Scenarios[0].Name)
	page := rendered(t, r, nil)
	for _, want := range []string{"**no floor** was there", "The limit is: unknown, there is no floor", "| latency-1 | p50 | 123 µs |"} {
		if !strings.Contains(strings.Join(strings.Fields(page), " "), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if ending := strings.Join(Ending(r), "\n"); !strings.Contains(ending, "p50        no floor; 123 µs, latency-1") || !strings.Contains(ending, "p99        not measured") {
		t.Errorf("the ending is\n%s", ending)
	}
}

// Runs on other machines are compared neither with local ones nor with those on yet other machines.
func TestRemoteIsNotMixed(t *testing.T) {
	far := elsewhere("bbbb", "big ones")
	for _, c := range []struct {
		old  *record.Results
		want string
	}{
		{sample("aaaa", 1), "remote: unknown / 3 hosts"},
		{elsewhere("aaaa", "small ones"), "machines: small ones / big ones"},
		{elsewhere("aaaa", "big ones"), ""},
	} {
		page := rendered(t, far, Remember(c.old))
		if refused := strings.Contains(page, "Not compared, because these differ"); refused != (c.want != "") || !strings.Contains(page, c.want) {
			t.Errorf("refused %v, want %q", refused, c.want)
		}
	}
	if page := rendered(t, sample("bbbb", 1), Remember(elsewhere("aaaa", "big ones"))); !strings.Contains(page, "remote: 3 hosts / unknown") {
		t.Error("a local run is compared with a remote one")
	}
}
