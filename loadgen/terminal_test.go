package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"

	"ackline/loadgen/brokertest"
)

// onTerminal runs the command with a terminal for its standard error and returns what was drawn on that. When it was drawn, do is called.
func onTerminal(t *testing.T, on string, do func(), ctx context.Context, args ...string) (code int, out, drawn string) {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	w := &trigger{on: on, do: do}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b) // an error once the other end is closed and everything was read
			if err != nil {
				return
			}
			_, _ = w.Write(b[:n])
		}
	})
	var o bytes.Buffer
	code = run(ctx, args, &o, tty)
	if err := tty.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	return code, o.String(), w.text()
}

// On a terminal the load is drawn; an interruption ends it, and the check and the summary follow.
func TestOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	b := brokertest.Start(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	code, out, drawn := onTerminal(t, "backlog", cancel, ctx, short(b, "--for", "1h")...)
	if (code != exitValid && code != exitInvalid) || !strings.Contains(out, "operations acknowledged") || !strings.Contains(out, "0 lost") || b.Has("t") {
		t.Errorf("exit %d, topic still there: %v\n%s", code, b.Has("t"), out)
	}
	if !strings.Contains(drawn, "produce to topic t (1 partition") || !strings.Contains(drawn, "measuring") || strings.Contains(drawn, " 1 s measure") {
		t.Errorf("%q", drawn)
	}
}

// A terminal that cannot be drawn on gets a line.
func TestOnADumbTerminal(t *testing.T) {
	t.Setenv("TERM", "dumb")
	b := brokertest.Start(t, 1)
	_, _, drawn := onTerminal(t, "\x00", func() {}, context.Background(), short(b)...)
	if !strings.Contains(drawn, " 1 s measure") || strings.Contains(drawn, "█") {
		t.Errorf("%q", drawn)
	}
}

func TestQuiet(t *testing.T) {
	t.Setenv("TERM", "xterm")
	b := brokertest.Start(t, 1)
	_, out, drawn := onTerminal(t, "\x00", func() {}, context.Background(), short(b, "--quiet")...)
	if drawn != "" || !strings.Contains(out, "operations acknowledged") {
		t.Errorf("%q\n%s", drawn, out)
	}
	if _, out, errOut := do(t, short(b, "--quiet")...); errOut != "" || !strings.Contains(out, "operations acknowledged") {
		t.Errorf("%q\n%s", errOut, out)
	}
}
