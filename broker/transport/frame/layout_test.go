package frame

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// field is one line of an offset table; size 0 means to the end.
type field struct{ off, size int }

// tables reads the offset tables from a source file's comments.
func tables(t *testing.T, file string) (all [][]field) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^//\t *(\d+) +(\d*) {2,}`)
	var cur []field
	for l := range strings.Lines(string(src)) {
		if m := line.FindStringSubmatch(l); m != nil {
			off, _ := strconv.Atoi(m[1])
			size, _ := strconv.Atoi(m[2])
			cur = append(cur, field{off, size})
		} else if cur != nil {
			all, cur = append(all, cur), nil
		}
	}
	return all
}

func number(p []byte) uint64 {
	var b [8]byte
	copy(b[:], p)
	return le.Uint64(b[:])
}

// The tables in the comments, the encoders and the constants must say the same.
func TestOffsetTables(t *testing.T) {
	snap := &pb.Snapshot{Data: []byte("data"), Metadata: pb.SnapshotMetadata{Index: 0x11, Term: 0x22, ConfState: pb.ConfState{
		Voters: []uint64{1}, Learners: []uint64{1, 2}, VotersOutgoing: []uint64{1, 2, 3}, LearnersNext: []uint64{1, 2, 3, 4}, AutoLeave: true}}}
	entry := pb.Entry{Term: 0x33, Index: 0x44, Type: pb.EntryConfChangeV2, Data: []byte("entry")}
	m := pb.Message{Type: pb.MsgApp, Reject: true, Snapshot: snap, Context: []byte("ctx"), Entries: []pb.Entry{entry, entry}, To: 0x55,
		From: 0x66, Term: 0x77, LogTerm: 0x88, Index: 0x99, Commit: 0xaa, Vote: 0xbb, RejectHint: 0xcc}
	b := NewBatch(1<<20, 1<<20)
	if _, err := b.Message(0xdddd, &m); err != nil {
		t.Fatal(err)
	}
	b.Seal()
	message := bytesOf(b)
	hello := (&Hello{Version: 0x101, Class: Snapshot, Features: 0x202, From: 3, To: 4, Identity: Identity{5, 6}, Cluster: "cluster"}).Frame()
	welcome := (&Welcome{Version: 0x101, Reason: Busy, Features: 0x202, Node: 3, Identity: Identity{5, 6}, Text: "text"}).Frame()
	beat := NewBatch(1<<20, 1<<20)
	beat.Heartbeat(&Heartbeat{Sent: 7, Echo: 8, Held: 9, Leaders: []Leader{{1, 2, 3}}, Reads: []Read{{4, 5, 6, true}, {}}})
	beat.Seal()
	heartbeat := bytesOf(beat)[HeaderSize:]
	chunk := SealChunk(append(make([]byte, ChunkHead), "data"...), 0x77)
	end := (&End{0x11, 0x22, true}).Frame()
	result := (&Result{true, "text"}).Frame()
	request := (&Request{Number: 0x11, Wait: 0x22 * time.Millisecond, What: 0x33, Payload: []byte("text")}).Frame()
	reply := (&Reply{Number: 0x11, Verdict: Declined, Payload: []byte("text")}).Frame()

	const rest = 1 << 63 // what stands to the end is compared elsewhere
	for _, c := range []struct {
		name  string
		bytes []byte
		file  string
		table int
		want  []uint64
		head  int // where the part of fixed size ends
	}{
		{"frame", message, "frame.go", 0, []uint64{number(magic[:]), uint64(KindMessages), 0, uint64(len(message) - HeaderSize), 1, 2,
			uint64(le.Uint32(message[crcOff:])), rest}, HeaderSize},
		{"message", message[HeaderSize:], "message.go", 0, []uint64{0xdddd, uint64(pb.MsgApp), flagReject | flagSnapshot, 3, 2, 0x55, 0x66, 0x77, 0x88,
			0x99, 0xaa, 0xbb, 0xcc, 0, rest}, MessageSize},
		{"entry", appendEntry(nil, &entry), "message.go", 1, []uint64{0x33, 0x44, 5, 2, 0, rest}, EntrySize},
		{"snapshot", appendSnapshot(nil, snap), "message.go", 2, []uint64{0x11, 0x22, flagLeave, 1, 2, 3, 4, 4, rest}, snapshotSize},
		{"hello", hello[HeaderSize:], "hello.go", 0, []uint64{0x101, uint64(Snapshot), 0, 0x202, 3, 4, 5, 6, rest}, helloSize},
		{"welcome", welcome[HeaderSize:], "hello.go", 1, []uint64{0x101, uint64(Busy), 0x202, 3, 0, 5, 6, rest}, welcomeSize},
		{"heartbeat", heartbeat, "heartbeat.go", 0, []uint64{1, 2, 7, 8, 9, rest}, heartbeatSize},
		{"leader", heartbeat[heartbeatSize:], "heartbeat.go", 1, []uint64{1, 2, 3}, leaderSize},
		{"read", heartbeat[heartbeatSize+leaderSize:], "heartbeat.go", 2, []uint64{4, 5, 6, flagAnswer}, readSize},
		{"chunk", chunk[HeaderSize:], "snapshot.go", 0, []uint64{0x77, rest}, ChunkHead - HeaderSize},
		{"end", end[HeaderSize:], "snapshot.go", 1, []uint64{0x11, 0x22, flagAborted}, endSize},
		{"result", result[HeaderSize:], "snapshot.go", 2, []uint64{1, rest}, resultSize},
		{"request", request[HeaderSize:], "call.go", 0, []uint64{0x11, 0x22, 0x33, 0, rest}, requestSize},
		{"reply", reply[HeaderSize:], "call.go", 1, []uint64{0x11, uint64(Declined), 0, rest}, replySize},
	} {
		fields := tables(t, c.file)[c.table]
		if len(fields) != len(c.want) {
			t.Errorf("%s: the table has %d lines, %d are encoded", c.name, len(fields), len(c.want))
			continue
		}
		at := 0
		for i, f := range fields {
			switch {
			case f.off != at:
				t.Errorf("%s: a field at %d where %d is expected", c.name, f.off, at)
			case f.size == 0 != (c.want[i] == rest):
				t.Errorf("%s: the field at %d has size %d", c.name, f.off, f.size)
			case f.size > 0 && number(c.bytes[f.off:f.off+f.size]) != c.want[i]:
				t.Errorf("%s: %#x at %d, want %#x", c.name, number(c.bytes[f.off:f.off+f.size]), f.off, c.want[i])
			}
			at += f.size
		}
		if at != c.head {
			t.Errorf("%s: the table's fixed part ends at %d, the constant says %d", c.name, at, c.head)
		}
	}
}

// The kinds that the table lists are those that there are.
func TestKindsInTheTable(t *testing.T) {
	src, err := os.ReadFile("frame.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for k := KindHello; k <= KindReply; k++ {
		names = append(names, strconv.Itoa(int(k))+" "+k.String())
	}
	if want := "kind: " + strings.Join(names, ", ") + "\n"; !strings.Contains(string(src), want) {
		t.Errorf("the table does not say %q", want)
	}
	if got := Kind(99).String() + Class(9).String() + Reason(99).String(); got != "kind 99class 9reason 99" {
		t.Errorf("unknown numbers are called %q", got)
	}
}

// bytesOf is everything in a sealed batch that is not sent yet.
func bytesOf(b *Batch) (out []byte) {
	for _, p := range b.Next(make([][]byte, 0, 10_000), 1<<40) {
		out = append(out, p...)
	}
	return out
}
