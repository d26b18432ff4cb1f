package snapshot

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/transport/frame"
)

func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

var message = pb.Message{Type: pb.MsgSnap, To: 3, Term: 4, Snapshot: &pb.Snapshot{Metadata: pb.SnapshotMetadata{Index: 5, Term: 4,
	ConfState: pb.ConfState{Voters: []uint64{1, 2, 3}}}}}

func sender(nc net.Conn) *Sender {
	return &Sender{Conn: nc, Peer: 2, ChunkBytes: 1000, Timeout: time.Minute, ResultTimeout: time.Minute,
		Turn: func(int) time.Duration { return 0 }, Sent: func(int) {}}
}

func receiver(nc net.Conn) *Receiver {
	return &Receiver{Conn: nc, Timeout: time.Minute, Got: func(int) {}}
}

func head(t testing.TB) []byte {
	t.Helper()
	b, err := Head(7, &message)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type handle = func(frame.GroupMessage, io.Reader) error

// run sends what r reads to a receiver with a handler, and returns what each side made of it. The connection is closed by
// whoever is done, as the transport does.
func run(t *testing.T, r io.Reader, h handle) (sent, received error) {
	t.Helper()
	near, far := pair(t)
	done := make(chan error, 1)
	go func() {
		err := receiver(far).Receive(h)
		far.Close()
		done <- err
	}()
	sent = sender(near).Send(head(t), r)
	near.Close()
	return sent, <-done
}

// failing reads some data and then an error.
type failing struct {
	io.Reader
	err error
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func random(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestSnapshotsArrive(t *testing.T) {
	for _, n := range []int{0, 1, 999, 1000, 1001, 300_000} {
		data := random(n)
		var got []byte
		var m frame.GroupMessage
		sent, received := run(t, bytes.NewReader(data), func(gm frame.GroupMessage, r io.Reader) (err error) {
			m = gm
			got, err = io.ReadAll(r)
			return err
		})
		if sent != nil || received != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: sent %v, received %v, %d bytes", n, sent, received, len(got))
		}
		if m.Group != 7 || m.Message.Snapshot.Metadata.Index != 5 || len(m.Message.Snapshot.Metadata.ConfState.Voters) != 3 {
			t.Errorf("the head came as %+v", m)
		}
	}
}

func TestWhatTheReceiverSaysIsWhatTheSenderHears(t *testing.T) {
	full := errors.New("disk full")
	for name, h := range map[string]handle{
		"at once":      func(frame.GroupMessage, io.Reader) error { return full },
		"in the midst": func(_ frame.GroupMessage, r io.Reader) error { io.CopyN(io.Discard, r, 100_000); return full },
		"at the end":   func(_ frame.GroupMessage, r io.Reader) error { io.Copy(io.Discard, r); return full },
	} {
		sent, received := run(t, bytes.NewReader(make([]byte, 4<<20)), h)
		var remote *RemoteError
		if !errors.As(sent, &remote) || remote.Node != 2 || remote.Text != "disk full" || !errors.Is(received, full) {
			t.Errorf("%s: sent %v, received %v", name, sent, received)
		}
	}
}

func TestAPartIsNotTheWhole(t *testing.T) {
	broken := errors.New("cannot read")
	var got []byte
	sent, received := run(t, failing{bytes.NewReader(random(10_000)), broken}, func(_ frame.GroupMessage, r io.Reader) (err error) {
		got, err = io.ReadAll(r)
		return err
	})
	if !errors.Is(sent, broken) || !errors.Is(received, ErrAborted) || len(got) != 10_000 {
		t.Errorf("the source breaks: sent %v, received %v", sent, received)
	}
	sent, received = run(t, bytes.NewReader(random(10_000)), func(_ frame.GroupMessage, r io.Reader) error {
		_, err := io.CopyN(io.Discard, r, 10_000)
		return err
	})
	var remote *RemoteError
	if !errors.Is(received, ErrUnread) || !errors.As(sent, &remote) {
		t.Errorf("not read to the end: sent %v, received %v", sent, received)
	}
}

// The sender goes in the midst: the receiver must not believe what it has.
func TestSenderGoes(t *testing.T) {
	near, far := pair(t)
	go func() {
		near.Write(head(t))
		near.Write(frame.SealChunk(append(make([]byte, frame.ChunkHead), "data"...), 0))
		near.Close()
	}()
	var err error
	if received := receiver(far).Receive(func(_ frame.GroupMessage, r io.Reader) error {
		_, err = io.ReadAll(r)
		return err
	}); !errors.Is(received, io.ErrUnexpectedEOF) || err == nil {
		t.Errorf("received %v, read %v", received, err)
	}
}

// The receiver goes without a word.
func TestReceiverGoes(t *testing.T) {
	near, far := pair(t)
	go func() {
		io.CopyN(io.Discard, far, 100)
		far.Close()
	}()
	if err := sender(near).Send(head(t), bytes.NewReader(make([]byte, 4<<20))); err == nil {
		t.Error("sent to nobody")
	}
}

func TestTimeouts(t *testing.T) {
	near, _ := pair(t)
	s := sender(near)
	s.ResultTimeout = time.Millisecond
	if err := s.Send(head(t), bytes.NewReader(nil)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no result: %v", err)
	}
	near, _ = pair(t)
	s = sender(near)
	s.Timeout = time.Millisecond
	if err := s.Send(head(t), bytes.NewReader(make([]byte, 64<<20))); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a receiver that does not read: %v", err)
	}
	near, far := pair(t)
	r := receiver(far)
	r.Timeout = time.Millisecond
	done := make(chan error, 1)
	go func() { done <- r.Receive(nil) }()
	io.Copy(io.Discard, near) // until the receiver has given up
	near.Close()
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a sender that does not send: %v", err)
	}
}

// Each frame has a checksum of its own; what it cannot see is a chunk that is missing, is there twice or changed places.
func TestWrongChunks(t *testing.T) {
	chunk := func(at uint64, data string) []byte {
		return frame.SealChunk(append(make([]byte, frame.ChunkHead), data...), at)
	}
	end := func(n int, data string) []byte {
		return (&frame.End{Bytes: uint64(n), CRC: crc32.Checksum([]byte(data), castagnoli)}).Frame()
	}
	damaged := chunk(0, "ab")
	damaged[len(damaged)-1] ^= 1
	for name, c := range map[string]struct {
		frames [][]byte
		want   string
	}{
		"fine":              {[][]byte{head(t), chunk(0, "ab"), chunk(2, "c"), end(3, "abc")}, ""},
		"missing":           {[][]byte{head(t), chunk(0, "ab"), end(3, "abc")}, "the snapshot has 2 bytes"},
		"a gap":             {[][]byte{head(t), chunk(0, "ab"), chunk(3, "c")}, "a chunk for offset 3 where 2 is reached"},
		"twice":             {[][]byte{head(t), chunk(0, "ab"), chunk(0, "ab")}, "a chunk for offset 0 where 2 is reached"},
		"damaged":           {[][]byte{head(t), damaged}, "checksum does not match"},
		"another sum":       {[][]byte{head(t), chunk(0, "ab"), end(2, "ba")}, "its end says 2"},
		"a head within":     {[][]byte{head(t), head(t)}, "messages within a snapshot"},
		"no head":           {[][]byte{chunk(0, "ab")}, "chunk of 0 where the head of a snapshot belongs"},
		"another message":   {[][]byte{other(t)}, "MsgVote where the head"},
		"too large a chunk": {[][]byte{head(t), chunk(0, strings.Repeat("x", frame.MaxChunk+1))}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair(t)
			done := make(chan error, 1)
			go func() {
				done <- receiver(far).Receive(func(_ frame.GroupMessage, r io.Reader) error { _, err := io.ReadAll(r); return err })
			}()
			for _, f := range c.frames {
				near.Write(f)
			}
			h, body, err := frame.Receive(near, nil, 1<<20)
			if err != nil || h.Kind != frame.KindResult {
				t.Fatalf("%v, %v where a result is expected", h.Kind, err)
			}
			near.Close()
			got, _ := frame.DecodeResult(body)
			received := <-done
			if got.Failed != (c.want != "") || !strings.Contains(got.Text, c.want) || (received != nil) != got.Failed {
				t.Errorf("the result is %+v, %v; want %q", got, received, c.want)
			}
		})
	}
}

func other(t *testing.T) []byte {
	b := frame.NewBatch(1000, 1000)
	if _, err := b.Message(1, &pb.Message{Type: pb.MsgVote}); err != nil {
		t.Fatal(err)
	}
	b.Seal()
	return b.Next(make([][]byte, 0, 1), 1000)[0]
}

func TestHead(t *testing.T) {
	for name, m := range map[string]pb.Message{
		"another type": {Type: pb.MsgApp}, "entries": {Type: pb.MsgSnap, Entries: make([]pb.Entry, 1)},
		"too large": {Type: pb.MsgSnap, Snapshot: &pb.Snapshot{Data: make([]byte, maxHead)}},
	} {
		if _, err := Head(1, &m); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for rate, want := range map[int64]int{0: MaxChunk, 1: minChunk, 80_000: 10_000, 1 << 40: MaxChunk} {
		if got := ChunkBytes(rate); got != want {
			t.Errorf("a rate of %d has chunks of %d, want %d", rate, got, want)
		}
	}
}

// The sender waits for its turn, and a receiver that fails meanwhile ends the wait.
func TestTurns(t *testing.T) {
	near, far := pair(t)
	s := sender(near)
	turns := 0
	s.Turn = func(n int) time.Duration {
		turns++
		if n != 1000 {
			t.Errorf("a turn of %d bytes", n)
		}
		if turns == 3 {
			return time.Hour
		}
		return 0
	}
	go func() {
		receiver(far).Receive(func(_ frame.GroupMessage, r io.Reader) error {
			io.CopyN(io.Discard, r, 2000)
			return errors.New("no more")
		})
		far.Close()
	}()
	var remote *RemoteError
	if err := s.Send(head(t), bytes.NewReader(random(10_000))); !errors.As(err, &remote) || turns != 3 {
		t.Errorf("%v after %d turns", err, turns)
	}
}
