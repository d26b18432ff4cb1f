package statemachine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"testing"

	"ackline/broker/statemachine"
	"ackline/broker/statemachine/machinetest"
)

func TestMapConforms(t *testing.T) {
	machinetest.Test(t, func() statemachine.StateMachine { return statemachine.NewMap() }, func(i int) []byte {
		if i%5 == 4 {
			return statemachine.Delete(fmt.Sprintf("key-%d", (i-1)%7))
		}
		return statemachine.Put(fmt.Sprintf("key-%d", i%7), strings.Repeat("v", i))
	})
}

func TestMapResults(t *testing.T) {
	m := statemachine.NewMap()
	for i, step := range []struct {
		data []byte
		want statemachine.Previous
	}{
		{statemachine.Put("a", "1"), statemachine.Previous{}},
		{statemachine.Put("a", "2"), statemachine.Previous{Value: "1", Found: true}},
		{statemachine.Delete("a"), statemachine.Previous{Value: "2", Found: true}},
		{statemachine.Delete("a"), statemachine.Previous{}},
	} {
		got, err := m.Apply(statemachine.Entry{Index: m.LastApplied() + 1, Data: step.data})
		if err != nil || got != step.want {
			t.Fatalf("step %d: %v, %v; want %v", i, got, err, step.want)
		}
	}
	if _, found := m.Get("a"); found {
		t.Fatal("a deleted key is there")
	}
}

func TestMapRefusesDamagedCommands(t *testing.T) {
	put := statemachine.Put("key", "value")
	for name, data := range map[string][]byte{
		"short":                      put[:5],
		"version":                    append([]byte{2}, put[1:]...),
		"operation":                  {1, 3, 0, 0, 0, 0},
		"key past the end":           {1, 1, 1, 0, 0, 0},
		"bytes behind a delete":      append(statemachine.Delete("k"), 'v'),
		"length that wraps an int32": {1, 1, 0xff, 0xff, 0xff, 0xff, 'k'},
	} {
		m := statemachine.NewMap()
		if _, err := m.Apply(statemachine.Entry{Index: 1, Data: data}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if m.LastApplied() != 0 {
			t.Errorf("%s: LastApplied moved", name)
		}
	}
}

// TestFrameLayout holds the encoder to the table that frame.go draws, written out by hand.
func TestFrameLayout(t *testing.T) {
	want := []byte("acktest\n" + // 0: magic
		"\x03\x00\x00\x00" + // 8: version
		"\x00\x00\x00\x00" + // 12: zero
		"\x07\x00\x00\x00\x00\x00\x00\x00" + // 16: length
		"payload") // 24
	want = binary.LittleEndian.AppendUint32(want, crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)))

	magic := statemachine.Magic([]byte("acktest\n"))
	var got bytes.Buffer
	if err := statemachine.WriteFrame(&got, magic, 3, []byte("payload")); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("frame\n got %q\nwant %q", got.Bytes(), want)
	}
	if extra := got.Len() - len("payload"); extra != statemachine.FrameBytes {
		t.Fatalf("a frame adds %d bytes, FrameBytes says %d", extra, statemachine.FrameBytes)
	}
	payload, version, err := statemachine.ReadFrame(bytes.NewReader(want), magic, 3, 7)
	if err != nil || version != 3 || string(payload) != "payload" {
		t.Fatalf("read %q, version %d, %v", payload, version, err)
	}
}

func TestFrameRefusals(t *testing.T) {
	magic, other := statemachine.Magic([]byte("acktest\n")), statemachine.Magic([]byte("another\n"))
	var image bytes.Buffer
	if err := statemachine.WriteFrame(&image, magic, 3, []byte("payload")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := statemachine.ReadFrame(bytes.NewReader(image.Bytes()), other, 3, 100); !errors.Is(err, statemachine.ErrCorrupt) {
		t.Errorf("another machine's snapshot: %v", err)
	}
	if _, _, err := statemachine.ReadFrame(bytes.NewReader(image.Bytes()), magic, 3, 6); !errors.Is(err, statemachine.ErrCorrupt) {
		t.Errorf("a payload above the limit: %v", err)
	}
	var version *statemachine.VersionError
	_, _, err := statemachine.ReadFrame(bytes.NewReader(image.Bytes()), magic, 2, 100)
	if !errors.As(err, &version) || version.Version != 3 || version.Read != 2 || errors.Is(err, statemachine.ErrCorrupt) {
		t.Errorf("a newer version: %v", err)
	}
}

// TestFrameLengthIsNotTrusted claims the largest payload allowed and sends none.
func TestFrameLengthIsNotTrusted(t *testing.T) {
	const limit = 1 << 40
	magic := statemachine.Magic([]byte("acktest\n"))
	head := append([]byte("acktest\n"), 1, 0, 0, 0, 0, 0, 0, 0)
	head = binary.LittleEndian.AppendUint64(head, limit)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := statemachine.ReadFrame(bytes.NewReader(head), magic, 1, limit); !errors.Is(err, statemachine.ErrCorrupt) {
		t.Fatalf("a header alone: %v", err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
		t.Fatalf("%d bytes were allocated for a header of %d", allocated, len(head))
	}
}

func FuzzReadFrame(f *testing.F) {
	magic := statemachine.Magic([]byte("acktest\n"))
	var image bytes.Buffer
	if err := statemachine.WriteFrame(&image, magic, 1, []byte("payload")); err != nil {
		f.Fatal(err)
	}
	f.Add(image.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, version, err := statemachine.ReadFrame(bytes.NewReader(b), magic, 1, 1<<20)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := statemachine.WriteFrame(&again, magic, version, payload); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("%q was accepted and encodes to %q", b, again.Bytes())
		}
	})
}
