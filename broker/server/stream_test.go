package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"ackline/broker/kwire"
)

// feed sends a stream to a connection of a server of its own, cut into pieces as the seed says, and returns what
// comes back and why the connection ended. A read of a net.Pipe returns one piece, so the cuts are exact.
func feed(t *testing.T, cfg Config, stream []byte, seed uint64) ([]byte, Cause) {
	t.Helper()
	s, err := New(cfg, funcs{serve: echo})
	if err != nil {
		t.Fatal(err)
	}
	client, end := net.Pipe()
	s.accept(end)
	back := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(client)
		back <- b
	}()
	rng := rand.New(rand.NewPCG(seed, 0))
	client.SetWriteDeadline(time.Now().Add(patience))
	for rest := stream; len(rest) > 0; {
		n := min(len(rest), 1+rng.IntN(1<<rng.IntN(13)))
		if _, err := client.Write(rest[:n]); err != nil {
			break // refused: the rest is not wanted
		}
		rest = rest[n:]
	}
	// A pipe has no half-close, so the end is a frame length that no one accepts, behind as much as completes any frame.
	for end := bytes.Repeat([]byte{0xff}, 4<<10); ; {
		if _, err := client.Write(end); err != nil {
			break
		}
	}
	got := <-back
	client.Close()
	until(t, "the connection to be forgotten", func() bool { return s.Connections() == 0 })
	until(t, "the budget to be given back", func() bool { return s.InflightBytes() == 0 })
	for c := range Cause(NumCauses) {
		if s.Counters.Ended[c].Load() == 1 {
			return got, c
		}
	}
	t.Fatal("the connection ended for no cause")
	return nil, 0
}

// TestStreamsInPieces: however the stream is cut, the same requests come out.
func TestStreamsInPieces(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var stream, want []byte
		for i := range int32(30) {
			body := bytes.Repeat([]byte{byte('a' + i)}, rng.IntN(1<<rng.IntN(16)))
			stream = append(stream, frame(i, body)...)
			want = binary.BigEndian.AppendUint32(want, uint32(4+len(body)))
			want = binary.BigEndian.AppendUint32(want, uint32(i))
			want = append(want, body...)
		}
		// With the second, every frame is suspicious and grows.
		for _, cfg := range []Config{{}, {MaxFrameBytes: 64 << 10, MaxInflightBytes: 200 << 10, ReadBufferBytes: 700}} {
			got, cause := feed(t, cfg, stream, seed)
			if !bytes.Equal(got, want) || cause != CauseFrame {
				t.Fatalf("seed %d: %d bytes came back, want %d; ended by %v", seed, len(got), len(want), cause)
			}
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add(append(frame(1, []byte("one")), frame(2, make([]byte, 5000))...), uint64(1))
	f.Add(rawFrame(kwire.KeyApiVersions, 99, 1, []byte("x")), uint64(2))
	f.Add([]byte{0, 0, 0x7f, 0xff, 1, 2, 3}, uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		cfg := Config{MaxFrameBytes: 64 << 10, MaxInflightBytes: 200 << 10, ReadBufferBytes: 700}
		got, _ := feed(t, cfg, stream, seed)
		for len(got) > 0 { // whole replies
			if len(got) < 8 || int(binary.BigEndian.Uint32(got)) > len(got)-4 {
				t.Fatalf("%d bytes of a reply", len(got))
			}
			got = got[4+binary.BigEndian.Uint32(got):]
		}
	})
}
