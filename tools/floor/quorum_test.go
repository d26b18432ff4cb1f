package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ackline/tools/floor/echo"
)

// childVariable makes this test binary the command itself: a quorum's nodes must be processes, because their loops keep
// the scheduler out.
const childVariable = "ACKLINE_FLOOR_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// node starts floor serve with a small ring in a process of its own. stop interrupts it and returns what it printed since.
func node(t *testing.T, args ...string) (ready map[string]string, stop func() (string, int)) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"serve", "--dir", t.TempDir(), "--method", "buffered-dsync", "--ring-bytes", "8388608"}, args...)...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: no line: %v %s", args, err, errs.String())
	}
	return fields(line), func() (string, int) {
		cmd.Process.Signal(os.Interrupt)
		rest, _ := io.ReadAll(lines)
		cmd.Wait()
		return string(rest) + errs.String(), cmd.ProcessState.ExitCode()
	}
}

// requests returns the correlation ids in a ring file.
func requests(t *testing.T, file string) map[uint32]bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[uint32]bool{}
	if _, err := echo.Verify(bytes.NewReader(b), int64(len(b)), func(h echo.Header, frame []byte) error {
		if len(frame) == 100 { // the others are trials
			ids[binary.BigEndian.Uint32(frame[8:])] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// Three nodes as they are started by hand: what was answered is in two of the files, and the end leaves nothing behind.
func TestThreeNodes(t *testing.T) {
	first, stopFirst := node(t, "--follow")
	second, stopSecond := node(t, "--follow")
	peers := first["addr"] + "," + second["addr"]
	lead, stopLead := node(t, "--followers", peers)
	if first["role"] != "follower" || lead["role"] != "leader" || lead["nodes"] != "3" || lead["majority"] != "2" || lead["followers"] != peers ||
		lead["floor_version"] != strconv.Itoa(echo.Version) || lead["method"] != "buffered-dsync" || lead["reply_bytes"] != "56" {
		t.Errorf("printed %v and %v", first, lead)
	}
	if strings.Count(lead["peer_echo_us"], ",") != 1 || strings.Count(lead["sync_us"], ",") != 2 || lead["commit_us"] == "" {
		t.Errorf("printed the parts %q, %q, %q", lead["peer_echo_us"], lead["sync_us"], lead["commit_us"])
	}
	const n = 50
	ask(t, lead["addr"], n)
	var files []map[uint32]bool
	for _, r := range []map[string]string{lead, first, second} {
		files = append(files, requests(t, r["file"]))
	}
	for id := range uint32(n) {
		copies := 0
		for _, f := range files {
			if f[id] {
				copies++
			}
		}
		if copies < 2 {
			t.Errorf("request %d was answered and is in %d of three files", id, copies)
		}
	}
	straight, stopStraight := node(t, "--straight", "--followers", peers)
	ask(t, straight["addr"], n)
	if out, code := stopStraight(); code != 0 || straight["role"] != "straight" || !strings.Contains(out, "requests=50 syncs=50 ") {
		t.Errorf("the plainest leader printed %v: exit %d, %q", straight, code, out)
	}
	stopSecond()
	ask(t, lead["addr"], n)
	out, code := stopLead()
	if code != 0 || !strings.Contains(out, "requests=100 ") || !strings.Contains(out, "lost=0 ") || !strings.Contains(out, "follower lost") {
		t.Errorf("the leader: exit %d, printed %q", code, out)
	}
	if out, code := stopFirst(); code != 0 || !strings.Contains(out, "floor done frames=") {
		t.Errorf("a follower: exit %d, printed %q", code, out)
	}
	for _, r := range []map[string]string{lead, first, second} {
		if _, err := os.Stat(r["file"]); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", r["file"], err)
		}
	}
}

func TestQuorumCommandLine(t *testing.T) {
	base := []string{"serve", "--dir", t.TempDir(), "--method", "buffered-dsync", "--ring-bytes", "8388608"}
	plain, stop := node(t)
	defer stop()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--follow", "--followers", "127.0.0.1:1"}, 2, "can't be used together"},
		{[]string{"--straight"}, 2, "--straight needs --followers"},
		{[]string{"--straight", "--followers", "127.0.0.1:1", "--connect-timeout", "1ms"}, 1, "follower 127.0.0.1:1"},
		{[]string{"--followers", "127.0.0.1:1", "--connect-timeout", "1ms"}, 1, "follower 127.0.0.1:1"},
		{[]string{"--followers", "127.0.0.1:1", "--window-bytes", "5"}, 1, "window of 5 bytes"},
		{[]string{"--followers", plain["addr"], "--connect-timeout", "10ms"}, 1, "floor serve --follow"},
		{[]string{"--follow", "--batch-bytes", "5"}, 1, "batch of 5 bytes"},
		{[]string{"--follow", "--listen-addr", "nowhere"}, 1, "nowhere"},
	} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), slices.Concat(base, c.args), &out, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: exit %d, %q; want exit %d and %q", c.args, code, errs.String(), c.code, c.want)
		}
	}
}
