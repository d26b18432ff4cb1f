package hosts

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ackline/loadgen/brokertest"
	"ackline/profiles"
	"ackline/tools/bench/record"
	"ackline/tools/hostinfo/fingerprint"
)

const example = "../../../profiles/deploy/hosts.toml"

// write puts a hosts file into a folder of its own.
func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// three is a file with three brokers and no floor.
const three = "note = \"three of a kind\"\nbrokers = [\"a:1\", \"b:1\", \"c:1\"]\n"

// The example is one that can be used: it names three nodes and all that may stand beside them.
func TestExample(t *testing.T) {
	c, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	if c.Copies() != 3 || c.Floor.Addr == "" || c.Floor.Nodes != 3 || c.Floor.Echo == "" || len(c.HTTP) != 3 || c.Note == "" {
		t.Errorf("%+v", c)
	}
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	// What it only shows is right, too.
	file := write(t, strings.ReplaceAll(string(text), "\n# ", "\n"))
	shown, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.SplitSeq(string(shown), "\n") {
		if strings.Contains(line, " = ") || strings.HasPrefix(line, "[") || strings.HasPrefix(line, "#") || line == "" {
			lines = append(lines, line)
		}
	}
	if c, err = Load(write(t, strings.Join(lines, "\n"))); err != nil || c.Security.SASL == "" || !c.Security.TLS || c.Replication != 3 {
		t.Errorf("with what it shows as a comment: %+v, %v", c, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"note = \"x\"\nbroker = [\"a:1\"]", `hosts.toml:2: unknown key "broker": did you mean "brokers"?`},
		{three + "[floor]\nadr = \"f:1\"", `hosts.toml:4: unknown key "floor.adr": did you mean "addr"?`},
		{three + "[security]\nsasl_password = \"secret\"", `hosts.toml:4: unknown key "security.sasl_password": did you mean "sasl_password_file"?`},
		{"note = 3\nbrokers = [\"a:1\"]", "hosts.toml:1"},
		{"brokers = [\"a:1\"]", "note is empty"},
		{"note = \" \"\nbrokers = [\"a:1\"]", "note is empty"},
		{"note = \"x\"", "no brokers"},
		{"note = \"x\"\nbrokers = [\"a\"]", `brokers: address "a": want host:port`},
		{"note = \"x\"\nbrokers = [\"a:1\", \"a:1\"]", "brokers: a:1 is listed twice"},
		{"http = [\"a:1\"]\n" + three, "http: 1 addresses of 3 brokers"},
		{"http = [\"a:1\", \"b\", \"c:1\"]\n" + three, `http: address "b"`},
		{"replication = 4\n" + three, "replication = 4: want 1 to 3"},
		{"replication = -1\n" + three, "replication = -1"},
		{three + "[floor]\naddr = \"f:1\"", "floor.nodes = 1 is no limit for 3 copies"},
		{three + "[floor]\naddr = \"f:1\"\nnodes = 5", "floor.nodes = 5 is no limit for 3 copies"},
		{three + "[floor]\nnodes = 3", "floor.nodes = 3: want how many nodes the floor at floor.addr has"},
		{three + "[floor]\naddr = \"f\"\nnodes = 3", "floor.addr: address"},
		{three + "[floor]\necho = \"f\"", "floor.echo: address"},
		{three + "[security]\ntls_ca = \"ca.pem\"", "--tls-ca without --tls"},
		{three + "[security]\nsasl = \"plain\"", "needs --sasl-user"},
	} {
		if _, err := Load(write(t, c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.toml")); err == nil {
		t.Error("a file that is not there")
	}
}

// Files are named from where the hosts file is, not from where bench is.
func TestPathsOfSecrets(t *testing.T) {
	file := write(t, three+"[security]\ntls = true\ntls_ca = \"ca.pem\"\nsasl = \"plain\"\nsasl_user = \"u\"\nsasl_password_file = \"/run/password\"")
	c, err := Load(file)
	if err != nil || c.Security.CAFile != filepath.Join(filepath.Dir(file), "ca.pem") || c.Security.PasswordFile != "/run/password" || c.Security.KeyFile != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// names are what is left of a suite and what is left out.
func names(s *profiles.Suite, left []record.LeftOut) (run, out []string) {
	for _, sc := range s.Scenarios {
		run = append(run, sc.Name)
	}
	for _, l := range left {
		out = append(out, l.Scenario)
	}
	return run, out
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		brokers string
		run     string
		out     string
	}{
		{`["a:1"]`, "latency-1 steady-2000 end-to-end inflight-256 throughput fetch-1 sweep",
			"recovery recovery-curve dc3-latency-1 dc3-inflight-256 dc3-throughput partitions-1000 dc5-latency-1 dc5-inflight-256 failover failover-silent catch-up idle-10000 multi-dc-3 multi-dc-5 region-loss-3 line-rate-70ms region-return-3 region-readers-3"},
		{`["a:1", "b:1", "c:1"]`, "steady-2000 end-to-end fetch-1 sweep dc3-latency-1 dc3-inflight-256 dc3-throughput partitions-1000",
			"latency-1 inflight-256 throughput recovery recovery-curve dc5-latency-1 dc5-inflight-256 failover failover-silent catch-up idle-10000 multi-dc-3 multi-dc-5 region-loss-3 line-rate-70ms region-return-3 region-readers-3"},
		{`["a:1", "b:1", "c:1", "d:1", "e:1"]`, "steady-2000 end-to-end throughput fetch-1 sweep dc5-latency-1 dc5-inflight-256",
			"latency-1 inflight-256 recovery recovery-curve dc3-latency-1 dc3-inflight-256 dc3-throughput partitions-1000 failover failover-silent catch-up idle-10000 multi-dc-3 multi-dc-5 region-loss-3 line-rate-70ms region-return-3 region-readers-3"},
	} {
		h, err := Load(write(t, "note = \"x\"\nbrokers = "+c.brokers))
		if err != nil {
			t.Fatal(err)
		}
		s, err := profiles.LoadSuite("full")
		if err != nil {
			t.Fatal(err)
		}
		before := s.Digest()
		left, err := h.Fit(s, nil)
		run, out := names(s, left)
		if err != nil || strings.Join(run, " ") != c.run || strings.Join(out, " ") != c.out {
			t.Errorf("%s: %v\n runs %s\n  not %s", c.brokers, err, strings.Join(run, " "), strings.Join(out, " "))
		}
		for _, sc := range s.Scenarios {
			if tp := s.TopologyOf(sc); tp.Nodes != h.Copies() || !strings.HasPrefix(tp.Name, "remote-") || sc.Workload.RingBytes != 0 || s.EstimateScenario(sc) <= 0 {
				t.Errorf("%s runs on %+v with a ring of %d bytes", sc.Name, tp, sc.Workload.RingBytes)
			}
		}
		for _, l := range left {
			if l.Reason == "" {
				t.Errorf("%s is left out without a reason", l.Scenario)
			}
		}
		if s.Name != "full (remote)" || s.Digest() == before {
			t.Errorf("the suite is called %s and has the digest of the local one", s.Name)
		}
	}
}

// What somebody asks for by name and cannot have is an error that says why.
func TestFitRefusesByName(t *testing.T) {
	h, err := Load(write(t, three))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"failover": "kills, pauses and stops nodes", "recovery": "reads its WAL", "catch-up": "kills a node", "idle-10000": "/proc", "multi-dc-5": "emulated network",
		"dc5-latency-1": "for 5 nodes, and the hosts file has 3 copies",
	} {
		s, err := profiles.LoadSuite("full")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Fit(s, []string{name}); err == nil || !strings.Contains(err.Error(), "--scenario "+name+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	s, err := profiles.LoadSuite("full")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := h.Fit(s, []string{"latency-1"}); err != nil || !slices.ContainsFunc(s.Scenarios, func(sc profiles.Scenario) bool { return sc.Name == "latency-1" }) {
		t.Errorf("a twin that is asked for: %v, left out %v", err, left)
	}
	s.Scenarios = slices.DeleteFunc(s.Scenarios, func(sc profiles.Scenario) bool { return sc.Workload.Kind != profiles.Failover })
	if _, err := h.Fit(s, nil); err == nil {
		t.Error("a suite of which nothing is left")
	}
}

// What is not known is said, and what is said by the file is called that.
func TestAbout(t *testing.T) {
	h, err := Load(write(t, three))
	if err != nil {
		t.Fatal(err)
	}
	bare := h.About(nil)
	if bare.Floor != "" || bare.Hosts != 3 || !strings.Contains(strings.Join(bare.Unknown, "; "), "CPU time") || !strings.Contains(h.String(), "no floor") {
		t.Errorf("%+v\n%s", bare, h)
	}
	h.HTTP, h.Floor = []string{"a:2", "b:2", "c:2"}, Floor{Addr: "f:1", Nodes: 3}
	told := h.About(nil)
	all := strings.Join(told.Unknown, "; ")
	if !strings.Contains(told.Floor, "so the hosts file says") || strings.Contains(all, "CPU time") || !strings.Contains(all, "the floor's version and sync method") ||
		strings.Contains(h.String(), "no floor") {
		t.Errorf("%+v\n%s", told, h)
	}
}

// The fingerprint is of these hosts and this client, and of no run on one machine.
func TestHost(t *testing.T) {
	h, err := Load(write(t, three))
	if err != nil {
		t.Fatal(err)
	}
	client := fingerprint.New([]fingerprint.Field{{Name: "cpu", Value: "Sample", Match: true}, {Name: "device", Value: "vda", Match: true}})
	here := h.Host(client)
	if err := here.Check(); err != nil || here.Get("remote") != "3 hosts" || here.Get("client_cpu") != "Sample" || here.Get("machines") != "three of a kind" ||
		here.Get("client_device") != fingerprint.Unknown || len(fingerprint.Differ(here, client)) == 0 {
		t.Errorf("%+v, %v", here, err)
	}
	h.Note = "others"
	if d := fingerprint.Differ(here, h.Host(client)); len(d) != 1 || !strings.Contains(d[0], "machines") {
		t.Errorf("other machines differ in %q", d)
	}
}

func TestLook(t *testing.T) {
	b := brokertest.Start(t, 2)
	here, nobody := b.Addrs(), brokertest.Refused(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there := l.Addr().String()
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Brokers: here}, ""},
		{Config{Brokers: here, Floor: Floor{Addr: there, Echo: there}}, ""},
		{Config{Brokers: here[:1]}, "brokers names 1, the cluster has 2"},
		{Config{Brokers: []string{nobody}}, "is one listening there?"},
		{Config{Brokers: here, Floor: Floor{Addr: nobody}}, "the floor: nobody answers"},
		{Config{Brokers: here, Floor: Floor{Echo: nobody}}, "the echo: nobody answers"},
		{Config{Brokers: here, HTTP: []string{nobody, nobody}}, "http: node 1"},
	} {
		err := c.config.Look(context.Background())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
}
