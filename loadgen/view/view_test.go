package view

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"ackline/loadgen/result"
)

var update = flag.Bool("update", false, "write the golden files anew")

// second is one of a run that stalls in its eighth second.
func second(i int64) result.Second {
	s := result.Second{Second: i, WarmUp: i < 5, Acked: 1000 + 20*(i%7), P50US: 151, P99US: 300 + 40*float64(i%5), MaxUS: 2100, LagP99US: 3.2, BacklogUS: 1, BacklogMax: 850}
	switch i {
	case 7:
		s = result.Second{Second: i, Failed: 3}
	case 8:
		s.P99US, s.MaxUS, s.BacklogUS, s.BacklogMax = 980_000, 1_000_100, 970_000, 999_000
	}
	return s
}

func after(seconds int64) Model {
	m := Model{Title: "produce to topic t (3 partitions, replication 3) at localhost:9092", For: 15 * time.Second, WarmUp: 30 * time.Second}
	for i := range seconds {
		m.add(second(i))
	}
	return m
}

func TestGolden(t *testing.T) {
	checking := after(20)
	checking.Checking, checking.Read, checking.Acked = true, 5_000, 20_000
	fixed := after(0)
	fixed.WarmUp = 0
	for name, m := range map[string]Model{"before": after(0), "fixed": fixed, "warm-up": after(3), "stalled": after(8), "measuring": after(13), "checking": checking} {
		for _, width := range []int{0, 40, 80, 200} {
			text := m.Render(width) + "\n"
			for _, line := range strings.Split(text, "\n") {
				if n := utf8.RuneCountInString(line); n > max(width, minWidth) {
					t.Errorf("%s at %d columns: a line of %d: %s", name, width, n, line)
				}
			}
			path := filepath.Join("testdata", fmt.Sprintf("%s-%d.txt", name, width))
			if *update {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(path); err != nil || string(want) != text {
				t.Errorf("%s: %v, got\n%swant\n%s", path, err, text, want)
			}
		}
	}
}

func TestModelIsBounded(t *testing.T) {
	if m := after(10_000); len(m.Seconds) != Kept || m.Measured != 9_995 {
		t.Errorf("%d seconds are kept, %d were measured", len(m.Seconds), m.Measured)
	}
}

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		values []float64
		width  int
		want   string
	}{
		{nil, 5, ""},
		{[]float64{0, 0}, 5, "  "},
		{[]float64{1, 2, 4, 0, 8}, 5, "▂▃▅ █"},
		{[]float64{100, 1, 1}, 2, "██"}, // what is not shown does not count
	} {
		if got := Spark(c.values, c.width); got != c.want {
			t.Errorf("%v in %d columns: %q, want %q", c.values, c.width, got, c.want)
		}
	}
}

// screenful reads a terminal's other end.
type screenful struct {
	mu   sync.Mutex // guards text
	text strings.Builder
	more *sync.Cond
}

func (s *screenful) await(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !strings.Contains(s.text.String(), what) {
		s.more.Wait()
	}
}

// On a terminal it starts, follows, and leaves the terminal as it found it: still cooked, so that ^C is a signal, with its cursor.
func TestTerminal(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	shown := &screenful{}
	shown.more = sync.NewCond(&shown.mu)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			shown.mu.Lock()
			shown.text.Write(b[:n])
			shown.mu.Unlock()
			shown.more.Broadcast()
		}
	}()
	stdin := os.Stdin
	os.Stdin = tty
	defer func() { os.Stdin = stdin }()
	v := Start(tty, after(0))
	shown.await("warming up")
	during, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *during != *before || during.Lflag&unix.ISIG == 0 {
		t.Errorf("the terminal was changed: %v to %v, %v", before, during, err)
	}
	for i := range int64(6) {
		v.Second(second(i))
	}
	shown.await("14s left")
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	if err := unix.Kill(os.Getpid(), unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-interrupted // and nobody else's: the load ends, the view goes on until the data is checked
	v.Checking(5, 20)
	shown.await("reading back")
	v.Stop()
	if after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("the terminal was left changed: %v to %v, %v", before, after, err)
	}
	if _, err := tty.WriteString("the end"); err != nil {
		t.Fatal(err)
	}
	shown.await("the end")
	shown.mu.Lock()
	defer shown.mu.Unlock()
	text := shown.text.String()
	if hidden, again := strings.LastIndex(text, "\x1b[?25l"), strings.LastIndex(text, "\x1b[?25h"); hidden > again {
		t.Errorf("the cursor stays hidden: %q", text)
	}
	for _, mode := range []string{"\x1b[?1049h", "\x1b[?2004h"} { // another screen, marks around what is pasted
		if strings.Contains(text, mode) {
			t.Errorf("a mode is set that who kills the program would be left with: %q", text)
		}
	}
}

// A terminal that takes nothing does not hold up who shows.
func TestStuckTerminal(t *testing.T) {
	v := &View{messages: make(chan tea.Msg, pending)}
	for i := range int64(10 * pending) {
		v.Second(second(i))
	}
	if len(v.messages) != pending {
		t.Errorf("%d messages wait, want %d", len(v.messages), pending)
	}
}
