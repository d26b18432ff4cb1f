package kwire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// randomRequest fills a request of the key with random values, tags included.
func randomRequest(rng *rand.Rand, key, version int16) kmsg.Request {
	r := kmsg.RequestForKey(key)
	r.SetVersion(version)
	fillRandom(rng, reflect.ValueOf(r).Elem(), version)
	r.SetVersion(version)
	return r
}

func randomResponse(rng *rand.Rand, key, version int16) kmsg.Response {
	r := kmsg.ResponseForKey(key)
	fillRandom(rng, reflect.ValueOf(r).Elem(), version)
	r.SetVersion(version)
	return r
}

func fillRandom(rng *rand.Rand, v reflect.Value, version int16) {
	switch v.Kind() {
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			for range rng.IntN(3) {
				tags.Set(100+rng.Uint32N(1e6), []byte(randomString(rng)))
			}
			return
		}
		for i := range v.NumField() {
			fillRandom(rng, v.Field(i), version)
		}
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandom(rng, v.Elem(), version)
		}
	case reflect.Slice:
		n := rng.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillRandom(rng, v.Index(i), version)
		}
	case reflect.Array:
		for i := range v.Len() {
			fillRandom(rng, v.Index(i), version)
		}
	case reflect.String:
		v.SetString(randomString(rng))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rng.Uint64()) >> (64 - v.Type().Bits()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rng.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(rng.Float64())
	default:
		panic("kind " + v.Kind().String())
	}
}

func randomString(rng *rand.Rand) string {
	n := rng.IntN(12)
	if rng.IntN(20) == 0 {
		n = 200 // two bytes of varint
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rng.IntN(26))
	}
	return string(b)
}

// eachServed calls f for every key and version of the table.
func eachServed(t *testing.T, f func(t *testing.T, key, version int16)) {
	for _, a := range APIs() {
		for v := a.Min; v <= a.Max; v++ {
			t.Run(fmt.Sprintf("%s/%d", a.Name, v), func(t *testing.T) { f(t, a.Key, v) })
		}
	}
}

func TestRandomRequestsPassAndSurviveDecoding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	eachServed(t, func(t *testing.T, key, version int16) {
		for range 200 {
			want := randomRequest(rng, key, version)
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, want, 77)[FrameLengthBytes:]
			h, err := ParseHeader(frame)
			if err != nil {
				t.Fatal(err)
			}
			if h.Key != key || h.Version != version || h.Correlation != 77 || string(h.ClientID) != "me" {
				t.Fatalf("header %+v", h)
			}
			if h.Flexible() != want.IsFlexible() {
				t.Fatalf("flexible %v, kmsg says %v", h.Flexible(), want.IsFlexible())
			}
			body := want.AppendTo(nil)
			if !bytes.Equal(h.Body, body) {
				t.Fatalf("body %x, want %x", h.Body, body)
			}
			got, err := Decode(h)
			if err != nil {
				t.Fatalf("%v\n%x", err, body)
			}
			if again := got.AppendTo(nil); !bytes.Equal(again, body) {
				t.Fatalf("decoded and encoded again: %x, want %x", again, body)
			}
		}
	})
}

func TestEveryTruncationIsRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	eachServed(t, func(t *testing.T, key, version int16) {
		for range 10 {
			body := randomRequest(rng, key, version).AppendTo(nil)
			for n := range body {
				if Bound(key, version, body[:n]) == nil {
					t.Fatalf("%d of %d bytes pass: %x", n, len(body), body[:n])
				}
			}
			if Bound(key, version, append(body[:len(body):len(body)], 0)) == nil {
				t.Fatalf("a byte behind the end passes")
			}
		}
	})
}

func TestTableAgreesWithKmsg(t *testing.T) {
	last := int16(-1)
	for _, a := range APIs() {
		if a.Key <= last {
			t.Errorf("%s: key %d stands behind %d", a.Name, a.Key, last)
		}
		last = a.Key
		r := kmsg.RequestForKey(a.Key)
		if r == nil || kmsg.NameForKey(a.Key) == "" {
			t.Fatalf("kmsg does not know key %d", a.Key)
		}
		if a.Min > a.Served || a.Served > a.Max || a.Max > r.MaxVersion() {
			t.Errorf("%s: %d <= %d <= %d <= %d does not hold", a.Name, a.Min, a.Served, a.Max, r.MaxVersion())
		}
	}
	if len(table) != 14 {
		t.Errorf("%d requests in the table", len(table))
	}
}

func TestResponsesHaveTheirHeaders(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	eachServed(t, func(t *testing.T, key, version int16) {
		want := randomResponse(rng, key, version)
		h := Header{Key: key, Version: version, Correlation: -9}
		prefix := []byte("before")
		b := AppendResponse(bytes.Clone(prefix), h, want)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatalf("what was in the buffer is gone")
		}
		b = b[len(prefix):]
		header := []byte{0xff, 0xff, 0xff, 0xf7}
		if want.IsFlexible() && key != KeyApiVersions {
			header = append(header, 0)
		}
		body := want.AppendTo(nil)
		n := len(header) + len(body)
		whole := append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, append(header, body...)...)
		if !bytes.Equal(b, whole) {
			t.Fatalf("got  %x\nwant %x", b, whole)
		}
	})
}

func TestApiVersionsAnswers(t *testing.T) {
	all := ApiVersions(0)
	if len(all.ApiKeys) != len(table) {
		t.Fatalf("%d keys", len(all.ApiKeys))
	}
	for _, k := range all.ApiKeys {
		if a, ok := Lookup(k.ApiKey); !ok || a.Min != k.MinVersion || a.Max != k.MaxVersion {
			t.Errorf("%+v, the table says %+v", k, a)
		}
	}
	h := Header{Key: KeyApiVersions, Version: 99, Correlation: 1}
	b := AppendResponse(nil, h, ApiVersions(35))
	// length 16; correlation 1; error 35; one key: 18, 0 to 4; no throttle in version 0
	want := []byte{0, 0, 0, 16, 0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4}
	if !bytes.Equal(b, want) {
		t.Errorf("got  %x\nwant %x", b, want)
	}
}

// TestWhoHintsServesEpochs: from these versions on, an answer may name another leader and its epoch. franz-go believes the epochs of
// Metadata only from brokers that serve OffsetForLeaderEpoch 2; without it a hint's epoch is never followed by a newer one.
func TestWhoHintsServesEpochs(t *testing.T) {
	produce, _ := Lookup(KeyProduce)
	fetch, _ := Lookup(KeyFetch)
	epochs, ok := Lookup(KeyOffsetForLeaderEpoch)
	if (produce.Max >= 10 || fetch.Max >= 16) && (!ok || epochs.Min > 2 || epochs.Max < 2) {
		t.Errorf("Produce up to %d and Fetch up to %d have hints, OffsetForLeaderEpoch is %+v", produce.Max, fetch.Max, epochs)
	}
}
