package proc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell starts a shell script as a child.
func shell(t *testing.T, ctx context.Context, script string) (*Process, error) {
	t.Helper()
	p, err := Start(ctx, Spec{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"GREETING=hello"},
		Log: filepath.Join(t.TempDir(), "log"), Ready: "ready"})
	if p != nil {
		t.Cleanup(p.Kill)
	}
	return p, err
}

func TestStartStop(t *testing.T) {
	p, err := shell(t, context.Background(), `trap 'echo bye; exit 0' TERM; echo early; echo ready addr=x:1 say=$GREETING; while :; do sleep 0.01; done`)
	if err != nil {
		t.Fatal(err)
	}
	if f := Fields(p.Line()); f["addr"] != "x:1" || f["say"] != "hello" {
		t.Errorf("ready line %q", p.Line())
	}
	if p.Err() != nil {
		t.Errorf("it runs, and Err is %v", p.Err())
	}
	if err := p.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	if tail := p.Tail(2); !strings.Contains(tail, "ready addr=x:1") || !strings.Contains(tail, "bye") || strings.Contains(tail, "early") {
		t.Errorf("the log's last two lines are %q", tail)
	}
}

func TestUncleanEnds(t *testing.T) {
	if _, err := shell(t, context.Background(), "echo the disk is full >&2; exit 3"); err == nil ||
		!strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("an early end: %v, want its status and last words", err)
	}
	p, err := shell(t, context.Background(), "echo ready; read x; exit 7")
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended() // stdin is empty
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("it ended by itself, and Err is %v", err)
	}
	p, err = shell(t, context.Background(), "trap '' TERM; echo ready; while :; do sleep 0.01; done")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("a deaf child: %v", err)
	}
	if _, err := Start(context.Background(), Spec{Name: "nothing", Path: "/no/such/program", Log: filepath.Join(t.TempDir(), "log")}); err == nil ||
		!strings.Contains(err.Error(), "make build") {
		t.Errorf("no program: %v", err)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	told := errors.New("interrupted")
	pid := filepath.Join(t.TempDir(), "pid")
	go func() {
		for {
			if b, _ := os.ReadFile(pid); len(b) > 0 { // it runs, and will never be ready
				cancel(told)
				return
			}
		}
	}()
	_, err := shell(t, ctx, "echo $$ > "+pid+"; while :; do sleep 0.01; done")
	if !errors.Is(err, told) {
		t.Fatalf("got %v, want the context's cause", err)
	}
}

func TestCountersOfThisProcess(t *testing.T) {
	before, err := Read("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var spent syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &spent)
	for start := spent.Utime.Nano() + spent.Stime.Nano(); spent.Utime.Nano()+spent.Stime.Nano()-start < 20e6; { // work, so that there is something to count
		syscall.Getrusage(syscall.RUSAGE_SELF, &spent)
	}
	f.Write(make([]byte, 1<<20))
	f.Sync()
	after, err := Read("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	d := after.Sub(before)
	if d.CPUNs < 15e6 || d.CPUNs > 60e9 || d.ResidentBytes < 1<<20 {
		t.Errorf("20 ms of work counted as %+v", d)
	}
	if peak, err := Peak("/proc", os.Getpid()); err != nil || peak < after.ResidentBytes/2 {
		t.Errorf("at most %d bytes were ever resident, %v; %d are now", peak, err, after.ResidentBytes)
	}
	if _, err := Peak(t.TempDir(), 7); err == nil {
		t.Error("a process that is not there had a peak")
	}
	if d.WriteBytes != 0 && d.WriteBytes < 1<<20 { // 0 on a file system in memory
		t.Errorf("1 MiB written counted as %d", d.WriteBytes)
	}
}

func TestCountersFromFixture(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(root, "42", name)
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("io", "rchar: 9\nwchar: 777\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 12\n")
	write("status", "Name:\tx\nVmRSS:\t  2048 kB\n")
	for i, task := range []string{"42", "43"} {
		write("task/"+task+"/schedstat", []string{"1000 5 6\n", "2500 0 1\n"}[i])
		write("task/"+task+"/status", "voluntary_ctxt_switches:\t10\nnonvoluntary_ctxt_switches:\t3\n")
	}
	os.MkdirAll(filepath.Join(root, "42/task/44"), 0o755) // a thread that has just ended
	got, err := Read(root, 42)
	want := Counters{CPUNs: 3500, VoluntarySwitches: 20, InvoluntarySwitches: 6, ReadBytes: 4096, WriteBytes: 8192,
		CallBytes: 777, Calls: 7, CancelledBytes: 12, ResidentBytes: 2 << 20}
	if err != nil || got != want {
		t.Errorf("read %+v, %v\nwant %+v", got, err, want)
	}
	write("io", "read_bytes: 4096\nwchar: 1\nsyscr: 1\nsyscw: 1\n")
	if _, err := Read(root, 42); err == nil || !strings.Contains(err.Error(), "write_bytes") {
		t.Errorf("a missing counter: %v, want its name", err)
	}
	if _, err := Read(root, 43); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process that is not there: %v", err)
	}
}

func TestOnDevice(t *testing.T) {
	for _, c := range []struct {
		c      Counters
		socket int64
		want   int64
	}{
		{Counters{WriteBytes: 4096, CallBytes: 4096 + 56}, 56, 4096},    // a direct write and a reply
		{Counters{WriteBytes: 1 << 20, CallBytes: 4096 + 56}, 56, 4096}, // a buffered write, counted as a folio
		{Counters{WriteBytes: 8192, CallBytes: 8192, CancelledBytes: 4096}, 0, 4096},
		{Counters{WriteBytes: 0, CallBytes: 5600}, 5600, 0}, // only replies
		{Counters{WriteBytes: 0, CallBytes: 5000}, 5600, 0},
	} {
		if got := c.c.OnDevice(c.socket); got != c.want {
			t.Errorf("%+v with %d to sockets: %d, want %d", c.c, c.socket, got, c.want)
		}
		if got, least := c.c.AtMost(c.socket), c.want; got < least || got < c.c.WriteBytes-c.c.CancelledBytes {
			t.Errorf("%+v with %d to sockets: at most %d, less than a counter says", c.c, c.socket, got)
		}
	}
}
