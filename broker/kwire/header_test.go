package kwire

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func header(key, version int16, rest ...byte) []byte {
	return append([]byte{byte(key >> 8), byte(key), byte(version >> 8), byte(version), 0, 0, 0, 5}, rest...)
}

func TestParseHeader(t *testing.T) {
	for _, c := range []struct {
		name    string
		frame   []byte
		client  string
		body    string
		version bool   // a *VersionError is expected
		reason  string // part of a *HeaderError
	}{
		{name: "plain", frame: header(3, 1, 0, 2, 'm', 'e', 'B'), client: "me", body: "B"},
		{name: "no client id", frame: header(3, 1, 0xff, 0xff, 'B'), body: "B"},
		{name: "empty client id", frame: header(3, 1, 0, 0, 'B'), body: "B"},
		{name: "flexible", frame: header(3, 9, 0, 2, 'm', 'e', 0, 'B'), client: "me", body: "B"},
		{name: "flexible with tags", frame: header(3, 9, 0, 0, 1, 7, 2, 'x', 'y', 'B'), body: "B"},
		{name: "ApiVersions 3", frame: header(18, 3, 0, 0, 0, 'B'), body: "B"},
		{name: "ApiVersions of the future", frame: header(18, 99, 0, 2, 'm', 'e', 0, 'B'), client: "me", body: "\x00B", version: true},
		{name: "version too low", frame: header(1, 3, 0, 0, 'B'), body: "B", version: true},
		{name: "negative version", frame: header(3, -1, 0, 0, 'B'), body: "B", version: true},
		{name: "unknown key", frame: header(4711, 0, 0, 0, 'B'), version: true},
		{name: "negative key", frame: header(-1, 0, 0, 0, 'B'), version: true},
		{name: "key in a gap", frame: header(17, 0, 0, 0, 'B'), version: true},
		{name: "short", frame: header(3, 1, 0), reason: "10 bytes are the least"},
		{name: "empty", reason: "10 bytes are the least"},
		{name: "client id length -2", frame: header(3, 1, 0xff, 0xfe), reason: "client id length -2"},
		{name: "client id beyond the end", frame: header(3, 1, 0x7f, 0xff, 'x'), reason: "length 32767 where 1 bytes"},
		{name: "tags missing", frame: header(3, 9, 0, 0), reason: "no varint"},
		{name: "2^32 tags", frame: header(3, 9, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f), reason: "4294967295 tags"},
		{name: "tag count of 36 bits", frame: header(3, 9, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f), reason: "no varint"},
		{name: "tag beyond the end", frame: header(3, 9, 0, 0, 1, 7, 9, 'x'), reason: "tag 7 of 9 bytes where 1 are left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := ParseHeader(c.frame)
			var v *VersionError
			var he *HeaderError
			switch {
			case c.version && !errors.As(err, &v):
				t.Fatalf("error %v, want a VersionError", err)
			case c.reason != "" && (!errors.As(err, &he) || !strings.Contains(err.Error(), c.reason)):
				t.Fatalf("error %v, want a HeaderError with %q", err, c.reason)
			case c.reason == "" && !c.version && err != nil:
				t.Fatal(err)
			}
			if c.reason != "" {
				return
			}
			if h.Correlation != 5 || string(h.ClientID) != c.client || string(h.Body) != c.body {
				t.Errorf("got %+v", h)
			}
		})
	}
}

func TestParseHeaderDoesNotAllocate(t *testing.T) {
	frame := header(0, 9, 0, 2, 'm', 'e', 0, 'B')
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseHeader(frame); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestHostileCounts are the frames that a client's decoder spends minutes or gigabytes on.
func TestHostileCounts(t *testing.T) {
	str32 := func(n int) string { return strings.Repeat("\x00", n) }
	for _, c := range []struct {
		name         string
		key, version int16
		body         string
		reason       string
	}{
		{"2^31 topics", KeyMetadata, 1, "\x7f\xff\xff\xff" + str32(30), "an array of 2147483647"},
		{"topics one too many", KeyMetadata, 1, "\x00\x00\x00\x10" + str32(30), "an array of 16 elements, of at least 2 bytes"},
		{"negative count", KeyMetadata, 1, "\xff\xff\xff\xfe", "length -2"},
		{"2^32 compact topics", KeyMetadata, 9, "\xff\xff\xff\xff\x0f" + str32(30), "an array of 4294967294"},
		{"2^32 tags", KeyApiVersions, 3, "\x01\x01\xff\xff\xff\xff\x0f", "4294967295 tags"},
		{"2^32 tags inside", KeyMetadata, 9, "\x02\x01\xff\xff\xff\xff\x0f" + str32(30), "4294967295 tags"},
		{"tag count overflows", KeyApiVersions, 3, "\x01\x01\xff\xff\xff\xff\xff\xff\x01", "no varint"},
		{"2^31 partitions", KeyFetch, 4, str32(17) + "\x00\x00\x00\x01" + "\x00\x01t" + "\x7f\xff\xff\xff", "an array of 2147483647"},
		{"string beyond the end", KeyFindCoordinator, 0, "\x7f\xff" + str32(9), "32767 bytes are needed"},
		{"compact string of 4 GiB", KeyFindCoordinator, 3, "\xff\xff\xff\xff\x0f" + str32(9), "4294967294 bytes are needed"},
		{"string length -2", KeyFindCoordinator, 0, "\xff\xfe", "length -2"},
		{"records of 2 GiB", KeyProduce, 3, "\xff\xff\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x00\x7f\xff\xff\xff", "2147483647 bytes are needed"},
		{"known tag too long", KeyFetch, 12, str32(25) + "\x01\x01" + "\x01" + "\x01" + "\x01\x05\x00\x00\x00\x00\x00", "8 bytes are needed, 1 are left"},
		{"known tag with rest", KeyFetch, 12, str32(25) + "\x01\x01" + "\x01" + "\x01" + "\x00\x03\x02x!", "tag 0: 1 bytes after its end"},
		{"trailing", KeyInitProducerID, 0, "\xff\xff\x00\x00\x00\x00!", "1 bytes after the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			took := cpuTime(t, func() { _, err = Decode(Header{Key: c.key, Version: c.version, Body: []byte(c.body)}) })
			var be *BoundError
			if !errors.As(err, &be) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %v, want a BoundError with %q", err, c.reason)
			}
			if took > time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestElementsAreLimited sends the request that costs most memory for its bytes: as many elements as are let through,
// each with a tag.
func TestElementsAreLimited(t *testing.T) {
	body := func(n int) []byte {
		b := []byte{byte(n+1) | 0x80, byte((n+1)>>7) | 0x80, byte((n + 1) >> 14)}
		for range n {
			b = append(b, 1, 1, 99, 0) // name "", one tag 99 of 0 bytes
		}
		return append(b, 0, 0, 0, 0)
	}
	n := MaxElements / 2
	if err := Bound(KeyMetadata, 9, body(n)); err != nil {
		t.Error(err)
	}
	if err := Bound(KeyMetadata, 9, body(n+1)); err == nil || !strings.Contains(err.Error(), "more than 131072") {
		t.Errorf("error %v", err)
	}
	var before, after runtime.MemStats
	hostile := body(n)
	runtime.ReadMemStats(&before)
	if _, err := Decode(Header{Key: KeyMetadata, Version: 9, Body: hostile}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 40 {
		t.Errorf("the dearest request allocates %d MiB", got)
	}
}

func TestNullWhereNoneIsAllowed(t *testing.T) {
	_, err := Decode(Header{Key: KeyFindCoordinator, Version: 0, Body: []byte{0xff, 0xff}})
	var be *BoundError
	if !errors.As(err, &be) {
		t.Errorf("error %v, want a BoundError", err)
	}
}

func TestResponseToWhatIsNotServedPanics(t *testing.T) {
	for _, h := range []Header{{Key: KeyFetch, Version: 3}, {Key: KeyMetadata, Version: 0}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for %+v", h)
				}
			}()
			AppendResponse(nil, h, kmsg.NewPtrFetchResponse())
		}()
	}
}
