package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/quick"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// travelling are the types of messages between nodes.
func travelling() (out []pb.MessageType) {
	for t := range pb.MessageType_name {
		if _, ok := ClassOf(pb.MessageType(t)); ok {
			out = append(out, pb.MessageType(t))
		}
	}
	return out
}

// Every type of message that raft has either has a class or never leaves its node, and the split is raft's own.
func TestEveryTypeHasItsPlace(t *testing.T) {
	for n, name := range pb.MessageType_name {
		typ := pb.MessageType(n)
		_, travels := ClassOf(typ)
		if local := raft.IsLocalMsg(typ) || typ == pb.MsgForgetLeader; local == travels {
			t.Errorf("%s: local %v, has a class %v", name, local, travels)
		}
	}
	for _, typ := range []pb.MessageType{-1, 24, 1 << 20} {
		if _, ok := ClassOf(typ); ok {
			t.Errorf("type %d has a class", typ)
		}
	}
	for typ, want := range map[pb.MessageType]Class{pb.MsgHeartbeat: Control, pb.MsgVote: Control, pb.MsgTimeoutNow: Control,
		pb.MsgReadIndex: Control, pb.MsgApp: Bulk, pb.MsgAppResp: Bulk, pb.MsgProp: Bulk} {
		if got, _ := ClassOf(typ); got != want {
			t.Errorf("%v goes over %v, want %v", typ, got, want)
		}
	}
}

// random fills every field of a message that travels.
func random(rng *rand.Rand) GroupMessage {
	blob := func(most int) []byte {
		if rng.IntN(3) == 0 {
			return nil
		}
		b := binary.LittleEndian.AppendUint64(nil, rng.Uint64())
		return bytes.Repeat(b, most)[:1+rng.IntN(most)]
	}
	ids := func() (out []uint64) {
		for range rng.IntN(4) {
			out = append(out, rng.Uint64())
		}
		return out
	}
	types := travelling()
	m := pb.Message{Type: types[rng.IntN(len(types))], To: rng.Uint64(), From: rng.Uint64(), Term: rng.Uint64(), LogTerm: rng.Uint64(),
		Index: rng.Uint64(), Commit: rng.Uint64(), Vote: rng.Uint64(), Reject: rng.IntN(2) == 0, RejectHint: rng.Uint64(), Context: blob(50)}
	if rng.IntN(4) == 0 {
		m.Snapshot = &pb.Snapshot{Data: blob(200), Metadata: pb.SnapshotMetadata{Index: rng.Uint64(), Term: rng.Uint64(),
			ConfState: pb.ConfState{Voters: ids(), Learners: ids(), VotersOutgoing: ids(), LearnersNext: ids(), AutoLeave: rng.IntN(2) == 0}}}
	}
	for range rng.IntN(5) {
		m.Entries = append(m.Entries, pb.Entry{Term: rng.Uint64(), Index: rng.Uint64(), Type: pb.EntryType(rng.IntN(3)), Data: blob(3000)})
	}
	return GroupMessage{id.GroupID(rng.Uint64()), m}
}

// decodeAll reads every message of a stream of frames that comes in pieces of up to step bytes.
func decodeAll(t *testing.T, wire []byte, step int) (out []GroupMessage) {
	t.Helper()
	s := NewStream(4096, 1<<20)
	for len(wire) > 0 {
		n := copy(s.Room()[:min(step, len(s.Room()))], wire)
		wire = wire[n:]
		err := s.Take(n, func(h Header, body []byte) (err error) {
			out, err = DecodeMessages(out, h, body)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Whatever is sent comes back, however it is cut: into frames, into data that is referred to and data that is copied, and
// into reads.
func TestMessagesComeBack(t *testing.T) {
	check := func(seed uint64) bool {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := NewBatch(1<<20, 1+rng.IntN(3000))
		var want []GroupMessage
		for range 1 + rng.IntN(40) {
			gm := random(rng)
			before := b.Left()
			n, err := b.Message(gm.Group, &gm.Message)
			if err != nil || n != b.Left()-before {
				t.Fatalf("added %d bytes, the batch grew by %d: %v", n, b.Left()-before, err)
			}
			want = append(want, gm)
		}
		b.Seal()
		got := decodeAll(t, bytesOf(b), 1+rng.IntN(6000))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("seed %d: %d messages came back as %d others", seed, len(want), len(got))
			return false
		}
		return true
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 100}); err != nil {
		t.Error(err)
	}
}

// Entry is the only field of raft's messages that travels which is not compared above if raft grows another.
func TestRaftHasNoOtherFields(t *testing.T) {
	for typ, want := range map[reflect.Type]int{reflect.TypeFor[pb.Message](): 14, reflect.TypeFor[pb.Entry](): 4,
		reflect.TypeFor[pb.Snapshot](): 2, reflect.TypeFor[pb.SnapshotMetadata](): 3, reflect.TypeFor[pb.ConfState](): 5} {
		if got := typ.NumField(); got != want {
			t.Errorf("%v has %d fields, the format was drawn for %d", typ, got, want)
		}
	}
}

// The bytes of version 2, so that a change of the format cannot pass for none.
func TestGoldenBytes(t *testing.T) {
	b := NewBatch(1<<20, 4)
	for _, m := range []pb.Message{
		{Type: pb.MsgApp, To: 2, From: 1, Term: 3, LogTerm: 2, Index: 10, Commit: 9, Entries: []pb.Entry{
			{Term: 3, Index: 11, Data: []byte("abcdefgh")}, {Term: 3, Index: 12, Type: pb.EntryConfChangeV2, Data: []byte("x")}}},
		{Type: pb.MsgHeartbeatResp, To: 1, From: 2, Term: 3, Context: []byte{7}},
	} {
		if _, err := b.Message(0x0102, &m); err != nil {
			t.Fatal(err)
		}
	}
	b.Heartbeat(&Heartbeat{Sent: 4, Echo: 5, Leaders: []Leader{{7, 8, 9}}, Reads: []Read{{1, 2, 3, true}}})
	b.Seal()
	got := hex.EncodeToString(bytesOf(b))
	want := strings.Join(strings.Fields(golden), "")
	if got != want {
		t.Errorf("the batch is\n%s\nwant\n%s", got, want)
	}
	hello := (&Hello{Version: 2, Class: Bulk, Features: 2, From: 3, To: 4, Identity: Identity{5, 6}, Cluster: "c"}).Frame()
	if got, want := hex.EncodeToString(hello), strings.Join(strings.Fields(goldenHello), ""); got != want {
		t.Errorf("the hello is\n%s\nwant\n%s", got, want)
	}
	welcome := (&Welcome{Version: 2, Reason: OtherCluster, Features: 2, Node: 3, Identity: Identity{5, 6}, Text: "no"}).Frame()
	if got, want := hex.EncodeToString(welcome), strings.Join(strings.Fields(goldenWelcome), ""); got != want {
		t.Errorf("the welcome is\n%s\nwant\n%s", got, want)
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	b := NewBatch(1<<20, 100)
	for name, m := range map[string]pb.Message{
		"data beyond a frame":    {Type: pb.MsgApp, Entries: []pb.Entry{{Data: make([]byte, 1<<20)}}},
		"context beyond a field": {Type: pb.MsgHeartbeat, Context: make([]byte, 1<<16)},
	} {
		if n, err := b.Message(1, &m); !errors.Is(err, ErrTooLarge) || n != 0 || b.Left() != 0 || b.Frames() != 0 {
			t.Errorf("%s: %v, %d bytes in the batch", name, err, b.Left())
		}
	}
	for name, m := range map[string]pb.Message{
		"a local type":   {Type: pb.MsgHup},
		"with responses": {Type: pb.MsgApp, Responses: []pb.Message{{}}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was encoded", name)
				}
			}()
			b.Message(1, &m)
		}()
	}
}

// A frame that became full takes no more, and a large message has one of its own: a group that goes quiet keeps at most
// FullFrame bytes of others in memory.
func TestFramesStaySmall(t *testing.T) {
	b := NewBatch(8<<20, 4096)
	small := pb.Message{Type: pb.MsgApp, Entries: []pb.Entry{{Data: make([]byte, 1000)}}}
	large := pb.Message{Type: pb.MsgApp, Entries: []pb.Entry{{Data: make([]byte, 3<<20)}}}
	for i := range 200 {
		m := &small
		if i%50 == 49 {
			m = &large
		}
		if _, err := b.Message(1, m); err != nil {
			t.Fatal(err)
		}
	}
	b.Seal()
	frames, messages := 0, 0
	wire := bytesOf(b)
	for len(wire) > 0 {
		h, err := ParseHeader(wire, 8<<20)
		if err != nil || h.Check(wire[HeaderSize:HeaderSize+h.Length]) != nil {
			t.Fatal(err)
		}
		if h.Length > FullFrame && h.Messages > 1 {
			t.Errorf("a frame of %d bytes with %d messages", h.Length, h.Messages)
		}
		frames++
		messages += h.Messages
		wire = wire[HeaderSize+h.Length:]
	}
	if messages != 200 || messages != b.Messages() || frames != b.Frames() || frames > 12 {
		t.Errorf("%d messages in %d frames; the batch says %d in %d", messages, frames, b.Messages(), b.Frames())
	}
}

// However little the socket takes at a time, the bytes are the same, and in order.
func TestAdvance(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := NewBatch(1<<20, 1+rng.IntN(500))
		for round := range 3 { // memory is used again
			b.Reset(rng.IntN(100_000))
			for range 10 {
				gm := random(rng)
				if _, err := b.Message(gm.Group, &gm.Message); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(4) == 0 {
					b.Heartbeat(&Heartbeat{Reads: []Read{{Group: id.GroupID(rng.Uint64())}}})
				}
			}
			b.Seal()
			want := bytesOf(b)
			if len(want) != b.Left() {
				t.Fatalf("seed %d: %d bytes, %d are said to be left", seed, len(want), b.Left())
			}
			var got []byte
			for b.Left() > 0 {
				most := 1 + rng.IntN(5000)
				size := 0
				var taken []byte
				for _, p := range b.Next(make([][]byte, 0, 1+rng.IntN(5)), most) {
					size += len(p)
					taken = append(taken, p...)
				}
				if size == 0 || size > most {
					t.Fatalf("seed %d: %d bytes given out, 1 to %d wanted", seed, size, most)
				}
				n := rng.IntN(size + 1)
				got = append(got, taken[:n]...)
				b.Advance(n)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("seed %d, round %d: sent other bytes than were sealed", seed, round)
			}
		}
	}
}

// What is enqueued behind sealed frames does not touch them.
func TestSealedFramesStay(t *testing.T) {
	b := NewBatch(1<<20, 2)
	m := pb.Message{Type: pb.MsgApp, Entries: []pb.Entry{{Data: []byte("data")}}}
	b.Message(1, &m)
	b.Seal()
	first := bytesOf(b)
	b.Message(2, &m)
	b.Seal()
	if got := bytesOf(b); !bytes.Equal(got[:len(first)], first) || b.Frames() != 2 {
		t.Errorf("a message joined a sealed frame: %d frames", b.Frames())
	}
	got := decodeAll(t, bytesOf(b), 1000)
	if len(got) != 2 || got[1].Group != 2 {
		t.Errorf("decoded %v", got)
	}
}
