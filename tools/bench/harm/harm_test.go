package harm

import (
	"net"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
)

// hear listens on a node's address and hands out what comes to it.
func hear(t *testing.T, c *Cluster, i int) (port int, lines <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(c.Links.Host(i), "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 16)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 64)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			got <- string(buf[:n])
			if _, err := conn.Write([]byte("echo " + string(buf[:n]))); err != nil {
				return
			}
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, got
}

// What is cut in one direction passes in the other; what was sent into a cut arrives when it is healed, as TCP has it.
func TestCuts(t *testing.T) {
	for _, c := range []struct {
		sort  record.IncidentSort
		there bool // what node 0 says arrives at node 1
	}{{record.Cut, false}, {record.Mute, false}, {record.Deaf, true}} {
		t.Run(string(c.sort), func(t *testing.T) {
			links, err := Between(3)
			if err != nil {
				t.Fatal(err)
			}
			defer links.Close()
			cluster := &Cluster{Nodes: target.Nodes{Brokers: &target.Brokers{Nodes: make([]*target.Broker, 3)}}, Links: links}
			port, got := hear(t, cluster, 1)
			addr, err := links.Addr(0, 1, port)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			say(t, conn, "before")
			if heard := <-got; heard != "before" || read(conn, time.Minute) != "echo before" {
				t.Fatalf("heard %q before anything was cut", heard)
			}
			undo, err := cluster.Harm(c.sort, 0)
			if err != nil {
				t.Fatal(err)
			}
			say(t, conn, "during")
			if c.there {
				if heard := <-got; heard != "during" {
					t.Errorf("heard %q", heard)
				}
			}
			if answer := read(conn, 100*time.Millisecond); answer != "" {
				t.Errorf("node 0 hears %q", answer)
			}
			if !c.there && len(got) > 0 {
				t.Errorf("node 1 heard %q", <-got)
			}
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			if answer := read(conn, time.Minute); answer != "echo during" {
				t.Errorf("after the repair node 0 hears %q", answer)
			}
		})
	}
}

func say(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	if _, err := conn.Write([]byte(what)); err != nil {
		t.Fatal(err)
	}
}

// read is what comes within a time, "" for nothing.
func read(conn net.Conn, within time.Duration) string {
	buf := make([]byte, 64)
	if conn.SetReadDeadline(time.Now().Add(within)) != nil {
		return "no deadline"
	}
	n, _ := conn.Read(buf)
	return string(buf[:n])
}

func TestWhatCannotBeDone(t *testing.T) {
	c := &Cluster{}
	if _, err := c.Harm(record.Cut, 0); err == nil || !strings.Contains(err.Error(), "find one another directly") {
		t.Errorf("a cut without links: %v", err)
	}
	if _, err := c.Harm(record.Kill, 0); err == nil || !strings.Contains(err.Error(), "goes on running") {
		t.Errorf("a kill: %v", err)
	}
}
