package frame

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
)

// body is a frame's body, whose checksum and kind must be right.
func body(t testing.TB, k Kind, b []byte) []byte {
	t.Helper()
	h, err := ParseHeader(b, 1<<20)
	if err != nil || h.Kind != k || h.Length != len(b)-HeaderSize || h.Check(b[HeaderSize:]) != nil {
		t.Fatalf("%v of %d bytes in %d: %v", h.Kind, h.Length, len(b), err)
	}
	return b[HeaderSize:]
}

func TestHandshakeComesBack(t *testing.T) {
	check := func(h Hello, w Welcome) bool {
		h.Version, h.Class = Version, h.Class%3
		h.Cluster, w.Text = clip(h.Cluster), clip(w.Text)
		gotHello, err := DecodeHello(body(t, KindHello, h.Frame()))
		if err != nil || gotHello != h {
			t.Errorf("%+v came back as %+v, %v", h, gotHello, err)
		}
		gotWelcome, err := DecodeWelcome(body(t, KindWelcome, w.Frame()))
		if err != nil || gotWelcome != w {
			t.Errorf("%+v came back as %+v, %v", w, gotWelcome, err)
		}
		return !t.Failed()
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// Of a hello of another version only the version is looked at, so that it can be refused by name.
func TestAHelloOfAnotherVersion(t *testing.T) {
	h, err := DecodeHello([]byte{9, 0, 0xff})
	if err != nil || h != (Hello{Version: 9}) {
		t.Errorf("%+v, %v", h, err)
	}
	for _, bad := range [][]byte{nil, {1}, {Version, 0, 0}, append([]byte{Version, 0, 4, 0}, make([]byte, 40)...),
		append([]byte{Version, 0, 0, 1}, make([]byte, 40)...), append([]byte{Version, 0, 0, 0}, make([]byte, MaxHandshakeBody)...)} {
		if _, err := DecodeHello(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("% .20x…: %v", bad, err)
		}
	}
	for _, bad := range [][]byte{nil, make([]byte, welcomeSize-1), append(make([]byte, 12), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)} {
		if _, err := DecodeWelcome(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("% x: %v", bad, err)
		}
	}
}

func TestRefusal(t *testing.T) {
	w := Welcome{Reason: OtherCluster, Node: 3, Text: "not\nmine\x1b[31m"}
	var refused *RefusedError
	if err := w.Err(); !errors.As(err, &refused) || refused.Reason != OtherCluster || refused.By != 3 ||
		!strings.Contains(err.Error(), "node 3 refuses the connection (other cluster): not?mine?[31m") {
		t.Errorf("%v", err)
	}
	if err := (&Welcome{}).Err(); err != nil {
		t.Errorf("a welcome is an error: %v", err)
	}
	long := strings.Repeat("ä", MaxText)
	got, err := DecodeWelcome(body(t, KindWelcome, (&Welcome{Text: long}).Frame()))
	if err != nil || !strings.HasPrefix(long, got.Text) || len(got.Text) < MaxText-3 {
		t.Errorf("a text of %d bytes is sent as %d: %v", len(long), len(got.Text), err)
	}
}

func TestHeartbeatComesBack(t *testing.T) {
	var again Heartbeat // its memory is used again
	check := func(h Heartbeat) bool {
		h.Leaders, h.Reads = h.Leaders[:min(len(h.Leaders), 500)], h.Reads[:min(len(h.Reads), 500)]
		b := NewBatch(1<<20, 1)
		n := b.Heartbeat(&h)
		b.Seal()
		wire := bytesOf(b)
		if n != len(wire) {
			t.Errorf("%d bytes are said to be %d", len(wire), n)
		}
		err := again.Decode(body(t, KindHeartbeat, wire))
		if err != nil || len(h.Leaders)+len(h.Reads) != len(again.Leaders)+len(again.Reads) ||
			len(h.Leaders) > 0 && !reflect.DeepEqual(h.Leaders, again.Leaders) || len(h.Reads) > 0 && !reflect.DeepEqual(h.Reads, again.Reads) {
			t.Errorf("%+v came back as %+v, %v", h, again, err)
		}
		return !t.Failed()
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{nil, append([]byte{1}, make([]byte, heartbeatSize-1)...), append(bytes.Repeat([]byte{0xff}, 8), make([]byte, heartbeatSize-8)...),
		append([]byte{0, 0, 0, 0, 1, 0, 0, 0}, append(make([]byte, 40), 2, 0, 0, 0, 0, 0, 0, 0)...), make([]byte, heartbeatSize+1)} {
		if err := again.Decode(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("% x: %v", bad, err)
		}
	}
}

func TestSnapshotFramesComeBack(t *testing.T) {
	check := func(e End, r Result, offset uint64, data []byte) bool {
		if got, err := DecodeEnd(body(t, KindEnd, e.Frame())); err != nil || got != e {
			t.Errorf("%+v came back as %+v, %v", e, got, err)
		}
		r.Text = printable(clip(r.Text))
		if got, err := DecodeResult(body(t, KindResult, r.Frame())); err != nil || got != r {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
		data = append(data, 1)
		at, got, err := DecodeChunk(body(t, KindChunk, SealChunk(append(make([]byte, ChunkHead), data...), offset)))
		if err != nil || at != offset || string(got) != string(data) {
			t.Errorf("a chunk of %d bytes at %d came back as %d at %d: %v", len(data), offset, len(got), at, err)
		}
		return !t.Failed()
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"empty chunk": second(DecodeChunk(make([]byte, 8))), "short end": last(DecodeEnd(make([]byte, 15))),
		"end with flags": last(DecodeEnd(append(make([]byte, 12), 2, 0, 0, 0))), "short result": last(DecodeResult(nil)),
		"unknown result": last(DecodeResult([]byte{2, 0, 0, 0})), "long result": last(DecodeResult(make([]byte, resultSize+MaxText+1))),
	} {
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func last[T any](_ T, err error) error           { return err }
func second[T, U any](_ T, _ U, err error) error { return err }
