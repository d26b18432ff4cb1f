package frame

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"runtime"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

func sealed(t testing.TB, minRef int, ms ...pb.Message) []byte {
	t.Helper()
	b := NewBatch(16<<20, minRef)
	for i := range ms {
		if _, err := b.Message(1, &ms[i]); err != nil {
			t.Fatal(err)
		}
	}
	b.Seal()
	return bytesOf(b)
}

var someMessages = []pb.Message{
	{Type: pb.MsgApp, To: 2, Entries: []pb.Entry{{Index: 1, Data: []byte("some data")}, {Index: 2}}},
	{Type: pb.MsgAppResp, Reject: true, Context: []byte("ctx")},
	{Type: pb.MsgSnap, Snapshot: &pb.Snapshot{Data: []byte("d"), Metadata: pb.SnapshotMetadata{ConfState: pb.ConfState{Voters: []uint64{1, 2}}}}},
}

// reseal corrects the checksum of a frame that a test has changed.
func reseal(b []byte) []byte {
	crc := crc32.Update(crc32.Checksum(b[:crcOff], castagnoli), castagnoli, b[HeaderSize:])
	le.PutUint32(b[crcOff:], crc)
	return b
}

func feed(s *Stream, wire []byte) error {
	for len(wire) > 0 {
		n := copy(s.Room(), wire)
		wire = wire[n:]
		err := s.Take(n, func(h Header, body []byte) error {
			switch h.Kind {
			case KindMessages:
				_, err := DecodeMessages(nil, h, body)
				return err
			case KindHeartbeat:
				return new(Heartbeat).Decode(body)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestBadFramesAreRefused(t *testing.T) {
	change := func(at int, to ...byte) func([]byte) []byte {
		return func(b []byte) []byte {
			copy(b[at:], to)
			return reseal(b)
		}
	}
	m := HeaderSize // of the first message
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"unchanged":               {func(b []byte) []byte { return b }, nil},
		"magic":                   {change(0, 'X'), ErrMagic},
		"kind":                    {change(4, 99), ErrFormat},
		"kind 0":                  {change(4, 0), ErrFormat},
		"reserved":                {change(6, 1), ErrFormat},
		"length":                  {change(8, 0xff, 0xff, 0xff, 0x7f), ErrTooLarge},
		"messages":                {change(12, 0xff, 0xff, 0xff, 0xff), ErrTooLarge},
		"more messages than fit":  {change(12, 0, 1, 0, 0), ErrFormat},
		"no messages":             {change(12, 0, 0, 0, 0), ErrFormat},
		"entries":                 {change(16, 0, 0, 0, 0x80), ErrTooLarge},
		"fewer messages":          {change(12, 2), ErrFormat},
		"fewer entries":           {change(16, 1), ErrFormat},
		"more entries":            {change(16, 3), ErrFormat},
		"a heartbeat that counts": {change(4, byte(KindHeartbeat)), ErrFormat},
		"a local type":            {change(m+8, byte(pb.MsgHup)), ErrFormat},
		"an unknown type":         {change(m+8, 77), ErrFormat},
		"unknown flags":           {change(m+9, 4), ErrFormat},
		"a snapshot from nowhere": {change(m+9, flagSnapshot), ErrFormat},
		"context":                 {change(m+10, 0xff, 0xff), ErrFormat},
		"entry count":             {change(m+12, 0xff, 0xff, 0xff, 0xff), ErrFormat},
		"tail of the head":        {change(m+80, 1), ErrFormat},
		"entry data":              {change(m+MessageSize+16, 0xff, 0xff, 0xff, 0xff), ErrFormat},
		"entry padding":           {change(m+MessageSize+21, 1), ErrFormat},
		"one bit":                 {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrChecksum},
		"one bit of the header":   {func(b []byte) []byte { b[12] ^= 4; return b }, ErrFormat},
		"the checksum":            {func(b []byte) []byte { b[crcOff] ^= 1; return b }, ErrChecksum},
	} {
		t.Run(name, func(t *testing.T) {
			err := feed(NewStream(1<<10, 1<<20), c.change(sealed(t, 1<<20, someMessages...)))
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// Entries' data are not copied from the frame, which is never used again; what a frame without entries holds is.
func TestWhoOwnsTheBytes(t *testing.T) {
	s := NewStream(4096, 1<<20)
	wire := append(sealed(t, 1<<20, someMessages[0]), sealed(t, 1<<20, someMessages[1:]...)...)
	var got []GroupMessage
	take := func(h Header, body []byte) (err error) {
		got, err = DecodeMessages(got, h, body)
		inPlace := &body[0] == &s.in[s.r-len(body)]
		if inPlace == (h.Entries > 0) {
			t.Errorf("a frame with %d entries was decoded in the read buffer: %v", h.Entries, inPlace)
		}
		return err
	}
	n := copy(s.Room(), wire)
	if err := s.Take(n, take); err != nil {
		t.Fatal(err)
	}
	for i := range s.in {
		s.in[i] = 0xee
	}
	for i := range got {
		if !reflect.DeepEqual(got[i].Message, someMessages[i]) {
			t.Errorf("message %d changed with the read buffer: %+v", i, got[i].Message)
		}
	}
	d := got[0].Message.Entries[0].Data
	if cap(d) != len(d) || cap(got[0].Message.Entries) != 2 {
		t.Error("appending to decoded slices would overwrite what follows them")
	}
}

// A length that is claimed is not memory that is given.
func TestClaimsCostNothing(t *testing.T) {
	head := make([]byte, HeaderSize)
	putHeader(head, KindMessages, 1<<30, MaxMessages, MaxEntries)
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	s := NewStream(4096, 1<<30)
	if got := allocated(func() {
		if err := feed(s, head); err != nil {
			t.Fatal(err)
		}
	}); got > plainBody+64<<10 {
		t.Errorf("a header that claims 1 GiB took %d bytes", got)
	}
	arriving := make([]byte, 3*plainBody)
	if got := allocated(func() { feed(s, arriving) }); got > 8*plainBody {
		t.Errorf("3 MiB of a frame of 1 GiB took %d bytes", got)
	}
	// Counts are bounded by the bytes that are there.
	if _, err := ParseHeader(append(head[:8:8], 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 1<<30); !errors.Is(err, ErrFormat) {
		t.Errorf("65,535 messages in 65,535 bytes: %v", err)
	}
}

// A long frame is read into its own memory, whatever the reads are, and what follows it is found.
func TestLongFrames(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB
	long := pb.Message{Type: pb.MsgApp, Entries: []pb.Entry{{Index: 7, Data: data}}}
	wire := sealed(t, 4096, someMessages[1], long, someMessages[0])
	for _, read := range []int{100, 4096, 1 << 20} {
		s := NewStream(read, 16<<20)
		var got []GroupMessage
		for rest := wire; len(rest) > 0; {
			n := copy(s.Room(), rest)
			rest = rest[n:]
			if err := s.Take(n, func(h Header, body []byte) (err error) { got, err = DecodeMessages(got, h, body); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 3 || !bytes.Equal(got[1].Message.Entries[0].Data, data) || got[2].Message.To != 2 {
			t.Errorf("reads of %d: %d messages", read, len(got))
		}
	}
}

func TestReceive(t *testing.T) {
	hello := (&Hello{Version: Version, Cluster: "c"}).Frame()
	h, body, err := Receive(bytes.NewReader(hello), nil, MaxHandshakeBody)
	if err != nil || h.Kind != KindHello || !bytes.Equal(body, hello[HeaderSize:]) {
		t.Fatalf("%v: % x, %v", h.Kind, body, err)
	}
	for _, c := range []struct {
		bytes []byte
		max   int
		want  error
	}{
		{nil, 100, io.EOF}, {hello[:10], 100, io.ErrUnexpectedEOF}, {hello[:HeaderSize], 100, io.ErrUnexpectedEOF},
		{hello[:30], 100, io.ErrUnexpectedEOF}, {hello, 10, ErrTooLarge}, {[]byte("GET / HTTP/1.1\r\nHost: somewhere"), 100, ErrMagic},
		{append(hello[:len(hello)-1:len(hello)-1], 'd'), 100, ErrChecksum},
	} {
		if _, _, err := Receive(bytes.NewReader(c.bytes), nil, c.max); !errors.Is(err, c.want) {
			t.Errorf("% x: %v, want %v", c.bytes, err, c.want)
		}
	}
}
