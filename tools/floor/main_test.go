package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ackline/tools/floor/echo"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--version"}, 0, fmt.Sprintf("floor version %d, ackline ", echo.Version)},
		{[]string{"--help"}, 0, "preallocated file"},
		{[]string{"serve", "--help"}, 0, "direct-dsync"},
		{[]string{"serve"}, 2, "--dir"},
		{[]string{"serve", "--dir", "/no/such/directory"}, 2, "/no/such/directory"},
		{[]string{"serve", "--dir", t.TempDir(), "--method", "wishful"}, 1, "buffered-dsync"},
		{[]string{"serve", "--dir", t.TempDir(), "--method", "buffered-dsync", "--ring-bytes", "5"}, 1, "ring of 5 bytes"},
		{[]string{"echo", "--listen-addr", "nowhere"}, 1, "nowhere"},
		{[]string{"echo", "--reply-bytes", "3"}, 1, "reply of 3 bytes"},
		{[]string{"echo", "--pause", "1h"}, 1, "pause of 1h"},
		{[]string{"dance"}, 2, "dance"},
	} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), c.args, &out, &errs); code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%v: exit %d, %q %q; want exit %d and %q", c.args, code, out.String(), errs.String(), c.code, c.want)
		}
	}
}

// serve runs a command until the returned function is called, which returns everything it printed.
func serve(t *testing.T, args ...string) (ready map[string]string, stop func() (string, int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	code := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		code <- run(ctx, args, w, &errs)
		w.Close()
	}()
	lines := bufio.NewReader(r)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: no line: %v %s", args, err, errs.String())
	}
	return fields(line), func() (string, int) {
		cancel()
		rest, _ := io.ReadAll(lines)
		return string(rest) + errs.String(), <-code
	}
}

// fields are the key=value pairs of a line.
func fields(line string) map[string]string {
	m := map[string]string{}
	for field := range strings.FieldsSeq(line) {
		if k, v, ok := strings.Cut(field, "="); ok {
			m[k] = v
		}
	}
	return m
}

func ask(t *testing.T, addr string, n int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	request, reply := make([]byte, 100), make([]byte, 56)
	binary.BigEndian.PutUint32(request, 96)
	for i := range n {
		binary.BigEndian.PutUint32(request[8:], uint32(i))
		c.Write(request)
		if _, err := io.ReadFull(c, reply); err != nil {
			t.Fatal(err)
		}
		if got := binary.BigEndian.Uint32(reply[4:]); got != uint32(i) {
			t.Fatalf("answer has correlation id %d, want %d", got, i)
		}
	}
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	ready, stop := serve(t, "serve", "--dir", dir, "--method", "buffered-dsync", "--ring-bytes", "8388608")
	if ready["floor_version"] != strconv.Itoa(echo.Version) || ready["method"] != "buffered-dsync" || ready["reply_bytes"] != "56" || ready["ring_bytes"] != "8388608" {
		t.Errorf("printed %v", ready)
	}
	ask(t, ready["addr"], 10)
	copied := filepath.Join(t.TempDir(), "copy")
	b, err := os.ReadFile(ready["file"])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := stop()
	if code != 0 || !strings.Contains(out, "requests=10 syncs=10 bytes=1000 refused=0") {
		t.Errorf("exit %d, printed %q", code, out)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	var verified, errs bytes.Buffer
	if code := run(context.Background(), []string{"verify", copied}, &verified, &errs); code != 0 ||
		!strings.Contains(verified.String(), "10 blocks, sequence 1 to 10, 10 frames, 1000 bytes") {
		t.Errorf("verify: exit %d, %q %q", code, verified.String(), errs.String())
	}
	b[16]-- // the payload length of the first block
	os.WriteFile(copied, b, 0o644)
	if code := run(context.Background(), []string{"verify", copied}, &verified, &errs); code != 1 || !strings.Contains(errs.String(), "position 0") {
		t.Errorf("verify of a damaged file: exit %d, %q", code, errs.String())
	}
}

func TestEcho(t *testing.T) {
	ready, stop := serve(t, "echo")
	ask(t, ready["addr"], 10)
	if out, code := stop(); code != 0 || !strings.Contains(out, "requests=10 syncs=0 ") {
		t.Errorf("exit %d, printed %q", code, out)
	}
}

func TestPausedEcho(t *testing.T) {
	ready, stop := serve(t, "echo", "--pause", "1ms")
	ask(t, ready["addr"], 10)
	out, code := stop()
	waited, err := strconv.ParseFloat(fields(out)["pause_us_p50"], 64)
	if code != 0 || ready["pause"] != "1ms" || err != nil || waited < 1000 {
		t.Errorf("exit %d, printed %v and %q", code, ready, out)
	}
}

func TestServeProbes(t *testing.T) {
	ready, stop := serve(t, "serve", "--dir", t.TempDir(), "--ring-bytes", "8388608", "--cadence", "100us")
	ask(t, ready["addr"], 3)
	if out, code := stop(); code != 0 || ready["method"] == "" || ready["method"] == "auto" {
		t.Errorf("exit %d, method %q, %s", code, ready["method"], out)
	}
}
