package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ackline/broker/syncmethod"
	"ackline/walbench/raw"
)

// call runs the command and returns its exit code and what it printed.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut strings.Builder
	code = run(t.Context(), args, &out, &errOut)
	return code, out.String(), errOut.String()
}

// anyFS lets a test measure wherever the temporary directory is.
const anyFS = "--allow-fs=tmpfs,overlay"

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if es, err := os.ReadDir(dir); len(es) != 0 || err != nil {
		t.Errorf("left behind in %s: %v, %v", dir, es, err)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--version"}, "ackline "},
		{[]string{"raw", "--version"}, "ackline "},
		{[]string{"--help"}, "walbench.tmp"},
		{[]string{"raw", "--help"}, "take turns"},
		{[]string{"seq", "--help"}, "fdatasync"},
		{[]string{"read", "--help"}, "O_DIRECT"},
	} {
		if code, out, errOut := call(t, c.args...); code != exitOK || !strings.Contains(out, c.want) || errOut != "" {
			t.Errorf("%q: exit %d, %q, %q", c.args, code, out, errOut)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args, want string
	}{
		{"", "expected one of"},
		{"fly", "unexpected argument"},
		{"raw --wings", "unknown flag"},
		{"raw --method direct", "there are direct-dsync"},
		{"raw --size 100", "multiple of 4096"},
		{"raw --size 4k", "is not a size"},
		{"raw --cadence -1ms", "cadence"},
		{"raw --count 5 --for 1s", "exactly one"},
		{"raw --concurrency 0", "writers"},
		{"raw --ring 1025GiB", "ring"},
		{"seq --block 100", "multiple of 4096"},
		{"seq --file-size 12MiB", "multiple of every block"},
		{"read --depth 0", "in flight"},
		{"read --file-size 0", "something to read"},
	} {
		args := strings.Fields(c.args)
		if len(args) > 0 && args[0] != "fly" {
			args = append(args, "--dir", dir)
		}
		code, out, errOut := call(t, args...)
		if code != exitUsage || !strings.Contains(errOut, c.want) || out != "" {
			t.Errorf("%s: exit %d, %q, %q", c.args, code, out, errOut)
		}
	}
	wantEmpty(t, dir)
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"raw", "--dir", filepath.Join(dir, "no")},
		{"read", "--file", filepath.Join(dir, "no"), anyFS},
		{"raw", "--ring", "1024GiB", "--concurrency", "1000", "--dir", dir, anyFS},
	} {
		if code, _, errOut := call(t, args...); code != exitFailed || !strings.HasPrefix(errOut, "walbench: ") {
			t.Errorf("%q: exit %d, %q", args, code, errOut)
		}
	}
	wantEmpty(t, dir)
	if p, err := raw.FindPlace("/dev/shm", []string{"tmpfs"}); err != nil || p.Mount.Type != "tmpfs" {
		t.Skip("needs a tmpfs on /dev/shm: to be refused")
	}
	if code, out, errOut := call(t, "raw", "--dir", "/dev/shm"); code != exitFailed || out != "" || !strings.Contains(errOut, "--allow-fs tmpfs") {
		t.Errorf("tmpfs: exit %d, %q, %q", code, out, errOut)
	}
}

func TestRawTable(t *testing.T) {
	dir := t.TempDir()
	code, out, errOut := call(t, "raw", "--dir", dir, anyFS, "--method", "direct-dsync,buffered-fdatasync", "--size", "4096,16KiB",
		"--cadence", "0,50us", "--count", "210", "--ring", "1MiB")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	wantEmpty(t, dir)
	for _, want := range []string{"dir          " + dir, "file system  ", "GiB free", "method  ", "p99.9 µs", "\ndirect-dsync         4KiB       0s        1     210  ",
		"\nbuffered-fdatasync  16KiB     50µs ", " at 50µs: ", " is fastest"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Index(out, "GiB free") > strings.Index(out, "p50") {
		t.Error("the disk comes after the figures")
	}
	lines := strings.Split(out, "\n")
	for _, l := range lines {
		if f := strings.Fields(l); len(f) == 11 && strings.HasPrefix(l, "direct-dsync") && (f[5] == "-" || f[6] != "-" || f[7] != "-") {
			t.Errorf("of 210 writes a median can be told, and no p99: %s", l)
		}
	}
}

func TestRawJSON(t *testing.T) {
	dir := t.TempDir()
	code, out, errOut := call(t, "raw", "--json", "--dir", dir, anyFS, "--method", "direct-rwf-dsync", "--cadence", "0", "--for", "30ms",
		"--ring", "1MiB", "--concurrency", "2")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	var r rawResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Place.Dir == "" || r.Place.FreeBytes <= 0 || r.Place.Host.Check() != nil || r.Version == "" || r.RingBytes != 1<<20 || len(r.Rows) != 1 {
		t.Fatalf("%+v", r)
	}
	row := r.Rows[0]
	if row.Error != "" { // an old kernel or file system
		return
	}
	h, err := hdrhistogram.Decode([]byte(row.Histogram))
	if err != nil {
		t.Fatal(err)
	}
	if row.Method != syncmethod.DirectRWFDsync || row.SizeBytes != 4096 || row.Writers != 2 || row.Writes < 10 || h.TotalCount() != row.Writes {
		t.Errorf("%+v, %d in the histogram", row, h.TotalCount())
	}
}

// TestRawTableOfFailures has a tie and a row without figures.
func TestRawTableOfFailures(t *testing.T) {
	row := func(m syncmethod.Method, us int64, err error) raw.Row {
		r := raw.Row{Method: m, Size: 4096, Cadence: time.Millisecond, Writers: 1, Latency: raw.NewHistogram(), Err: err, Elapsed: time.Second}
		if err == nil {
			if err := r.Latency.RecordValues(us*1000, 10_000); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	var out strings.Builder
	rawTable(&out, []raw.Row{row(syncmethod.DirectDsync, 103, nil), row(syncmethod.DirectFdatasync, 100, nil),
		row(syncmethod.BufferedDsync, 110, nil), row(syncmethod.BufferedRWFDsync, 0, os.ErrInvalid)})
	const want = `method              size  cadence  writers  writes  p50 µs  p99 µs  p99.9 µs  writes/s   MB/s  dev/user
direct-dsync        4KiB      1ms        1   10000   103.0   103.0         -     10000  40.96         -
direct-fdatasync    4KiB      1ms        1   10000   100.0   100.0         -     10000  40.96         -
buffered-dsync      4KiB      1ms        1   10000   110.0   110.0         -     10000  40.96         -
buffered-rwf-dsync  4KiB      1ms        1       -       -       -         -         -      -         -
buffered-rwf-dsync does not work here: invalid argument

4KiB at 1ms: direct-fdatasync is fastest; within 5%: direct-dsync
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestSeqAndRead(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"seq", "--file-size", "2MiB", "--group", "1MiB"}, []string{"each", "group"}},
		{[]string{"read", "--file-size", "1MiB"}, []string{"read"}},
	} {
		args := append(c.args, "--dir", dir, anyFS, "--block", "64KiB,1MiB", "--depth", "1,2", "--rounds", "1")
		code, out, errOut := call(t, args...)
		if code == exitFailed && strings.Contains(errOut, "O_DIRECT") {
			t.Skip("needs O_DIRECT: the file system of the temporary directory has none")
		}
		if code != exitOK {
			t.Fatalf("%q: exit %d: %s", args, code, errOut)
		}
		for _, mode := range c.want {
			if !strings.Contains(out, "best "+mode+": ") || !strings.Contains(out, "\n"+mode) {
				t.Errorf("%q: no %s in\n%s", args, mode, out)
			}
		}
		code, out, errOut = call(t, append(args, "--json")...)
		var r sweepResult
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK {
			t.Fatalf("%q: exit %d, %v: %s", args, code, err, errOut)
		}
		if len(r.Points) != 4*len(c.want) || len(r.Best) != len(c.want) || r.Best[0].Rate <= 0 || len(r.Best[0].Rounds) != 1 {
			t.Errorf("%q: %+v", args, r)
		}
		wantEmpty(t, dir)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := call(t, "read", "--file", file, anyFS, "--block", "64KiB", "--depth", "1", "--rounds", "1", "--limit", "64KiB")
	if code != exitOK || !strings.Contains(out, "best read: ") {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
	if es, _ := os.ReadDir(dir); len(es) != 1 {
		t.Errorf("reading a file left something beside it: %v", es)
	}
}

// TestInterrupted: the defaults take minutes, so an interrupt after 50 ms comes in the middle.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	for _, command := range []string{"raw", "seq", "read"} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		var out, errOut strings.Builder
		code := run(ctx, []string{command, "--dir", dir, anyFS}, &out, &errOut)
		if code != exitInterrupted && !strings.Contains(errOut.String(), "O_DIRECT") || strings.Contains(out.String(), "best") {
			t.Errorf("%s: exit %d, %q", command, code, errOut.String())
		}
		wantEmpty(t, dir)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]bytes{"0": 0, "4096": 4096, "4KiB": 4096, "8MiB": 8 << 20, "1GiB": 1 << 30, "5000": 5000, "1048576GiB": 1 << 50} {
		var b, again bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s: %d, %v", text, int64(b), err)
		}
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%s is printed as %s", text, b)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "4kb", "1048577GiB", "4 KiB", "9223372036854775807"} {
		var b bytes
		if b.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken for %d", text, int64(b))
		}
	}
}

func TestProgress(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		terminal bool
		want     string
	}{
		{false, "measuring  20%, 48s left\nmeasuring  40%, 36s left\nverifying   0%\n"},
		{true, "\rfilling  50%\rmeasuring   0%\rmeasuring  20%, 48s left\rmeasuring  40%, 36s left\rverifying   0%          \r" +
			strings.Repeat(" ", 14) + "\r"},
	} {
		var out strings.Builder
		p := newProgress(&out)
		p.terminal, p.now, p.shown = c.terminal, func() time.Time { return now }, now
		tick := func(d time.Duration) { now = now.Add(d) }
		p.Report("filling", 0)
		tick(time.Second)
		p.Report("filling", 0.5)
		tick(time.Second)
		p.Report("measuring", 0)
		tick(12 * time.Second)
		p.Report("measuring", 0.2)
		p.Report("measuring", 0.3) // too soon
		tick(12 * time.Second)
		p.Report("measuring", 0.4)
		tick(10 * time.Second)
		p.Report("verifying", 0)
		p.Done()
		p.Done()
		if out.String() != c.want {
			t.Errorf("terminal %v:\n%q, want\n%q", c.terminal, out.String(), c.want)
		}
	}
}
