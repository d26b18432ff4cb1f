package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runWith runs the command and returns what it said.
func runWith(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a broker that starts is stopped at once
	code = run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

func TestVersionAndHelp(t *testing.T) {
	for verb, teaches := range map[string]string{"status": "Exit code 3", "leaders": "--topic", "transfer": "--all-from 3", "add": "broker cluster --join",
		"remove": "safe to interrupt", "replace": "broker admin replace 3 4"} {
		if code, out, _ := runWith(t, "admin", verb, "--help"); code != 0 || !strings.Contains(out, teaches) || !strings.Contains(out, "--json") {
			t.Errorf("admin %s --help: exit %d, no %q in %s", verb, code, teaches, out)
		}
	}
	code, out, _ := runWith(t, "--version")
	if code != 0 || !strings.Contains(out, "ackline") {
		t.Errorf("--version: exit %d, %q", code, out)
	}
	code, out, _ = runWith(t, "start", "--help")
	for _, flag := range []string{"--data-dir", "--listen-addr", "--advertise-addr", "--http-addr", "--config", "--auto-create-topics"} {
		if code != 0 || !strings.Contains(out, flag) {
			t.Errorf("start --help: exit %d, no %s in %q", code, flag, out)
		}
	}
}

// TestBadInput gives each mistake that a user may make and wants one clear error that names the way out.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	newer, other, plain := filepath.Join(dir, "newer"), filepath.Join(dir, "other"), file("plain", "")
	for d, text := range map[string]string{
		newer: `{"format":2,"cluster_id":"c","node_id":1,"incarnation":1}`,
		other: `{"format":1,"cluster_id":"c","node_id":7,"incarnation":1}`,
	} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
		file(filepath.Base(d)+"/node.json", text)
	}
	data := filepath.Join(dir, "data")
	clusterOf := func(peers string) []string {
		return []string{"cluster", "--data-dir", data, "--raft-addr", "127.0.0.1:5001", "--peers", peers}
	}
	for _, c := range []struct {
		what string
		args []string
		code int
		want []string
	}{
		{"unknown flag", []string{"start", "--data-dirr", data}, 2, []string{"--data-dirr", "--data-dir"}},
		{"no data directory", []string{"start"}, 2, []string{"--data-dir"}},
		{"unknown key", []string{"start", "--config", file("k.toml", "[wal]\nring_byte = 5\n")}, 2, []string{"k.toml:2", "ring_byte", "ring_bytes"}},
		{"wrong type", []string{"start", "--config", file("t.toml", "[wal]\nring_bytes = \"big\"\n")}, 2, []string{"t.toml:2"}},
		{"missing file", []string{"start", "--config", filepath.Join(dir, "none.toml")}, 2, []string{"none.toml"}},
		{"unreachable address", []string{"start", "--data-dir", data, "--listen-addr", "0.0.0.0:0"}, 2, []string{"--advertise-addr"}},
		{"unreachable advertised address", []string{"start", "--data-dir", data, "--advertise-addr", "0.0.0.0:9092"}, 2, []string{"--advertise-addr"}},
		{"unknown sync method", []string{"start", "--data-dir", data, "--sync-method", "magic"}, 2, []string{"magic", "direct-dsync"}},
		{"port in use", []string{"start", "--data-dir", data, "--http-addr", "none", "--listen-addr", ln.Addr().String()}, 1, []string{"--listen-addr", "in use"}},
		{"newer format", []string{"start", "--data-dir", newer, "--http-addr", "none", "--listen-addr", "127.0.0.1:0"}, 1, []string{"format 2", "newer"}},
		{"another node's", []string{"start", "--data-dir", other, "--http-addr", "none", "--listen-addr", "127.0.0.1:0"}, 1, []string{"node 7", "--node-id 7"}},
		{"a file for a directory", []string{"start", "--data-dir", plain, "--http-addr", "none", "--listen-addr", "127.0.0.1:0"}, 1, []string{plain}},
		{"a ring too small", []string{"start", "--data-dir", data, "--ring-bytes", "8192", "--http-addr", "none", "--listen-addr", "127.0.0.1:0"}, 2, []string{"ring"}},
		{"a cluster of nobody", []string{"cluster", "--data-dir", data}, 2, []string{"--peers 2@host:port"}},
		{"a peer without an id", clusterOf("node2:5001"), 2, []string{"node2:5001", "ID@HOST:PORT"}},
		{"a peer at every address", clusterOf("2@0.0.0.0:5001"), 2, []string{"node 2", "0.0.0.0:5001", "name a host"}},
		{"a peer without a port", clusterOf("2@node2"), 2, []string{"node 2", "host:port"}},
		{"a peer at any port", clusterOf("2@node2:0"), 2, []string{"node 2", "port 0"}},
		{"itself for a peer", clusterOf("1@node1:5001"), 2, []string{"node 1", "others only"}},
		{"one id for two peers", clusterOf("2@node2:5001,2@node3:5001"), 2, []string{"node 2 twice"}},
		{"one address for two peers", clusterOf("2@node2:5001,3@node2:5001"), 2, []string{"node 2", "node 3", "its own"}},
		{"nowhere for the others to connect", []string{"cluster", "--data-dir", data, "--peers", "2@node2:5001"}, 2, []string{"--raft-addr", "not set"}},
		{"a cluster's clients told every address", append(clusterOf("2@node2:5001"), "--listen-addr", "0.0.0.0:9092"), 2, []string{"--advertise-addr"}},
		{"a certificate without its key", append(clusterOf("2@node2:5001"), "--tls-cert", plain), 2,
			[]string{"cluster.tls.key_file (--tls-key)", "cluster.tls.ca_file (--tls-ca)", "not set"}},
		{"a certificate that is not there", append(clusterOf("2@node2:5001"), "--tls-cert", filepath.Join(dir, "no.pem"), "--tls-key", plain, "--tls-ca", plain), 1,
			[]string{"--tls-cert", "no.pem", "no such file"}},
		{"no certificate", append(clusterOf("2@node2:5001"), "--tls-cert", plain, "--tls-key", plain, "--tls-ca", plain), 1,
			[]string{"--tls-cert", plain, "certificate"}},
		{"TLS for one node", []string{"start", "--data-dir", data, "--config", file("tls.toml", "[cluster.tls]\ncert_file = \"c.pem\"\n")}, 2,
			[]string{"cluster.tls", "clients"}},
		{"a list of nodes without this one", []string{"cluster", "--data-dir", data, "--node-id", "3", "--config",
			file("n.toml", "[[nodes]]\nid = 1\nkafka_addr = \"a:1\"\nraft_addr = \"a:2\"\n")}, 2, []string{"node 3", "[[nodes]]"}},
		{"a list of nodes for one", []string{"start", "--data-dir", data, "--config",
			file("s.toml", "[[nodes]]\nid = 1\nkafka_addr = \"a:1\"\nraft_addr = \"a:2\"\n")}, 2, []string{"broker cluster"}},
		{"nobody to ask", []string{"admin", "status", "--http-addr", "127.0.0.1:1"}, 1, []string{"no node answers", "127.0.0.1:1"}},
		{"no address to ask", []string{"admin", "leaders", "--http-addr", "node1"}, 2, []string{"node1", "host:port"}},
		{"nothing to transfer", []string{"admin", "transfer", "--to", "2"}, 2, []string{"TOPIC/NUMBER", "--all-from"}},
		{"two things to transfer", []string{"admin", "transfer", "events/0", "--all-from", "1"}, 2, []string{"--all-from"}},
		{"a topic to transfer", []string{"admin", "transfer", "events", "--to", "2"}, 2, []string{"events/0"}},
		{"nowhere to transfer to", []string{"admin", "transfer", "events/0"}, 2, []string{"--to NODE"}},
		{"a node without an address", []string{"admin", "add", "4"}, 2, []string{"<raft-addr>"}},
		{"a replacement by nobody", []string{"admin", "replace", "4"}, 2, []string{"<new>"}},
	} {
		code, _, errOut := runWith(t, c.args...)
		if c.args[0] == "cluster" && strings.Count(errOut, "\n") != 1 {
			t.Errorf("%s: not one error: %s", c.what, errOut)
		}
		if code != c.code {
			t.Errorf("%s: exit %d, want %d (%s)", c.what, code, c.code, errOut)
		}
		for _, w := range c.want {
			if !strings.Contains(errOut, w) {
				t.Errorf("%s: the error does not name %q: %s", c.what, w, errOut)
			}
		}
	}
}
