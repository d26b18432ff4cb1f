package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ackline/tools/netlab/calibrate"
)

const small = `note = "two near and one far"
between = [
  { regions = ["east", "west"], delay_ms = 20, loss_percent = 1, bandwidth_mbit = 80 },
]
[[regions]]
name = "east"
zones = ["a"]
same_zone_delay_ms = 10
[[regions]]
name = "west"
[[hosts]]
name = "n1"
region = "east"
zone = "a"
[[hosts]]
name = "n2"
region = "east"
zone = "a"
[[hosts]]
name = "n3"
region = "west"
`

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "small.toml")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// buffer is written by programs' copiers and read by the test.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func newBuffer() *buffer { return &buffer{changed: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// wait returns when the text has been written so many times.
func (b *buffer) wait(t *testing.T, text string, times int) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for strings.Count(b.String(), text) < times {
		select {
		case <-b.changed:
		case <-limit:
			t.Fatalf("no %q × %d in\n%s", text, times, b)
		}
	}
}

func netlab(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	o, e := newBuffer(), newBuffer()
	code = run(t.Context(), args, o, e)
	return code, o.String(), e.String()
}

func TestCheck(t *testing.T) {
	top := file(t, small)
	code, out, errOut := netlab(t, "check", top)
	if code != 0 || errOut != "" {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	for _, want := range []string{"small: two near and one far; 3 hosts", "n1                     -      10.000      20.000   east a\n",
		"n1 to n3: jitter up to 0 ms, loss 1%, limit 10 MB/s"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if _, out, _ := netlab(t, "check", "world-5"); !strings.Contains(out, "no jitter, no loss, no limits\ncongestion control cubic") {
		t.Errorf("world-5:\n%s", out)
	}
	_, out, _ = netlab(t, "check", top, "--json")
	var got struct{ Paths []row }
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Paths) != 6 ||
		!slices.Contains(got.Paths, row{From: "n3", To: "n1", DelayMs: 20, Loss: 0.01, BytesPerSecond: 1e7}) {
		t.Errorf("%v: %+v", err, got)
	}
}

func TestExitCodes(t *testing.T) {
	wrong := file(t, strings.Replace(small, "delay_ms = 20", "delay = 20", 1))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"check", wrong}, 1, "small.toml:3: unknown key"},
		{[]string{"check", "moon-3"}, 1, "there are continent-3, far-3, same-zone"},
		{[]string{"calibrate", "world-3", "--mode", "tap"}, 2, "--mode must be one of"},
		{[]string{"flatten"}, 2, "netlab --help explains"},
		{[]string{"run", "world-3", "--mode", "relay", "--host", "n7", "--", "true"}, 1, `host "n7" is not in world-3`},
		{[]string{"run", "world-3", "--mode", "relay", "--", "echo", "{port}"}, 1, "{port}: want {host}, {id}"},
		{[]string{"run", "world-3", "--mode", "relay", "--", "echo", "{n9:1}"}, 1, `host "n9" is not in world-3`},
		{[]string{"run", "world-3", "--mode", "relay", "--", "false"}, 1, "host n2: false: exit status 1"},
		{[]string{"run", "world-3", "--mode", "relay", "--", "/no/such/program"}, 1, "host n1: "},
	} {
		code, _, errOut := netlab(t, c.args...)
		if code != c.code || !strings.Contains(errOut, c.want) || strings.Contains(errOut, "netlab: netlab:") {
			t.Errorf("%q: exit %d, want %d, and\n%s\nwant %q in it", c.args, code, c.code, errOut, c.want)
		}
	}
	if code, out, _ := netlab(t, "--help"); code != 0 || !strings.Contains(out, "netlab run zones-3 --") {
		t.Errorf("--help: exit %d\n%s", code, out)
	}
}

func TestCommandsKnowWhereTheyAre(t *testing.T) {
	code, out, errOut := netlab(t, "run", file(t, small), "--mode", "relay", "--", "echo", "{host}/{id}/{region}/{zone}/{addr}", "{n3:5000}", "{peers:5001}", "{}")
	if code != 0 {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	var n int
	if _, err := fmt.Sscanf(lines[0], "n1: n1/1/east/a/127.%d.", &n); err != nil {
		t.Fatalf("%v: %q", err, lines[0])
	}
	at := strings.NewReplacer("N", strconv.Itoa(n)).Replace
	want := []string{
		at("n1: n1/1/east/a/127.N.1.1 127.N.1.3:5000 2@127.N.1.2:5001,3@127.N.1.3:5001 {}"),
		at("n2: n2/2/east/a/127.N.2.2 127.N.2.3:5000 1@127.N.2.1:5001,3@127.N.2.3:5001 {}"),
		at("n3: n3/3/west//127.N.3.3 127.N.3.3:5000 1@127.N.3.1:5001,2@127.N.3.2:5001 {}"),
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	code, out, errOut = netlab(t, "run", "world-3", "--mode", "relay", "--host", "n2", "--", "sh", "-c", "echo {host}; echo oh >&2")
	if code != 0 || out != "n2\n" || errOut != "oh\n" {
		t.Errorf("a single host: exit %d, %q, %q, want its output as it is", code, out, errOut)
	}
}

// ^C, which is the end of the context, ends programs and what they started, those that do not listen too.
func TestInterrupt(t *testing.T) {
	for name, script := range map[string]string{
		"polite": `trap 'echo bye; exit 0' TERM; echo up $$; while :; do read -t 1 x < /dev/zero; done`,
		"child":  `sh -c 'echo up $$; exec sleep 1000' & wait`,
		"deaf":   `sh -c 'trap "" TERM; echo up $$; exec sleep 1000' & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, errOut := newBuffer(), newBuffer()
			done := make(chan int)
			go func() {
				done <- run(ctx, []string{"run", "world-3", "--mode", "relay", "--", "bash", "-c", script}, out, errOut)
			}()
			out.wait(t, "up", 3)
			cancel()
			select {
			case code := <-done:
				if code != 0 {
					t.Errorf("exit %d, %s", code, errOut)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("still running")
			}
			if name == "polite" && strings.Count(out.String(), "bye\n") != 3 {
				t.Errorf("not all were asked to end:\n%s", out)
			}
			for line := range strings.Lines(out.String()) {
				if _, pid, ok := strings.Cut(strings.TrimSpace(line), "up "); ok {
					gone(t, pid)
				}
			}
		})
	}
}

// gone waits until there is no such process, or only what is left of it until somebody asks.
func gone(t *testing.T, pid string) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); ; {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		if time.Now().After(limit) {
			n, _ := strconv.Atoi(pid)
			_ = syscall.Kill(n, syscall.SIGKILL)
			t.Errorf("process %s is still there: %s", pid, stat)
			return
		}
	}
}

// A netlab that is killed leaves no programs, and its addresses are free for the next.
func TestKilled(t *testing.T) {
	if os.Getenv("NETLAB_TEST_RUN") != "" {
		os.Exit(run(context.Background(), strings.Split(os.Getenv("NETLAB_TEST_RUN"), " "), os.Stdout, os.Stderr))
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilled$")
	cmd.Env = append(os.Environ(), "NETLAB_TEST_RUN=run world-3 --mode auto -- sh -c echo\tup\t$$;exec\tsleep\t1000")
	out := newBuffer()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	out.wait(t, "up", 3)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for line := range strings.Lines(out.String()) {
		if _, pid, ok := strings.Cut(strings.TrimSpace(line), "up "); ok {
			gone(t, pid)
		}
	}
}

func TestKeep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errOut := newBuffer(), newBuffer()
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"run", file(t, small), "--mode", "relay", "--port", "5000"}, out, errOut)
	}()
	out.wait(t, "running; ^C ends it\n", 1)
	if strings.Count(out.String(), "finds port 5000 of") != 6 || strings.Count(out.String(), "listens on 127.") != 3 {
		t.Errorf("got\n%s", out)
	}
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit %d, %s", code, errOut)
	}
}

func TestCalibrate(t *testing.T) {
	args := []string{"calibrate", file(t, small), "--mode", "relay", "--pair-time", "100ms", "--throughput-time", "0s"}
	code, out, errOut := netlab(t, append(args, "--json")...)
	var r calibrate.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Pairs) != 3 || r.Pairs[1].WantUs != 40_000 || r.Pairs[1].GotUs < 40_000 {
		t.Fatalf("%v: %s%s", err, out, errOut)
	}
	if want := min(r.Off(), 1); code != want { // a busy machine may be late
		t.Errorf("exit %d with %d pairs off", code, r.Off())
	}
	if _, out, _ := netlab(t, args...); !strings.Contains(out, "n1 - n3      40.000") {
		t.Errorf("got\n%s", out)
	}
}

func TestPrefixed(t *testing.T) {
	var b bytes.Buffer
	p := &prefixed{host: "n1", to: &b, mu: &sync.Mutex{}}
	for _, s := range []string{"a", "b\nc", "\n\nd"} {
		if n, err := p.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if b.String() != "n1: ab\nn1: c\nn1: \n" {
		t.Errorf("wrote %q", b.String())
	}
}
