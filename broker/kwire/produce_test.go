package kwire

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func produceVersions(t *testing.T, f func(t *testing.T, version int16)) {
	a, _ := Lookup(KeyProduce)
	for v := a.Served; v <= a.Max; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) { f(t, v) })
	}
}

// sameAsKmsg compares what the iterator returns with what kmsg decodes.
func sameAsKmsg(t *testing.T, p *ProduceRequest, want *kmsg.ProduceRequest) {
	t.Helper()
	if p.Acks != want.Acks || p.TimeoutMs != want.TimeoutMillis || p.Topics != len(want.Topics) {
		t.Fatalf("got %d %d %d, want %+v", p.Acks, p.TimeoutMs, p.Topics, want)
	}
	if p.AsksStages != asks(want.UnknownTags) {
		t.Fatalf("AsksStages is %v", p.AsksStages)
	}
	if (p.TransactionalID == nil) != (want.TransactionID == nil) ||
		want.TransactionID != nil && string(p.TransactionalID) != *want.TransactionID {
		t.Fatalf("transactional id %q, want %v", p.TransactionalID, want.TransactionID)
	}
	n := 0
	for _, wt := range want.Topics {
		for _, wp := range wt.Partitions {
			topic, partition, records, ok := p.Next()
			if !ok || string(topic) != wt.Topic || partition != wp.Partition || !bytes.Equal(records, wp.Records) ||
				(records == nil) != (wp.Records == nil) {
				t.Fatalf("partition %d: %q %d %x %v, want %q %+v", n, topic, partition, records, ok, wt.Topic, wp)
			}
			n++
		}
	}
	for range 2 {
		if topic, partition, records, ok := p.Next(); ok {
			t.Fatalf("one too many: %q %d %x", topic, partition, records)
		}
	}
	if p.Partitions != n {
		t.Fatalf("Partitions is %d, want %d", p.Partitions, n)
	}
}

func TestProduceRequestAgreesWithKmsg(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	produceVersions(t, func(t *testing.T, version int16) {
		for range 300 {
			want := randomRequest(rng, KeyProduce, version).(*kmsg.ProduceRequest)
			h := Header{Key: KeyProduce, Version: version, Body: want.AppendTo(nil)}
			// What is nil and what is empty is for kmsg's decoder to say, not for the struct that was encoded.
			if err := want.ReadFrom(h.Body); err != nil {
				t.Fatal(err)
			}
			var p ProduceRequest
			if err := p.Parse(h); err != nil {
				t.Fatalf("%v: %x", err, h.Body)
			}
			sameAsKmsg(t, &p, want)
			p.Rewind()
			for range rng.IntN(p.Partitions + 1) { // and again, from anywhere
				p.Next()
			}
			p.Rewind()
			sameAsKmsg(t, &p, want)
			for n := range h.Body {
				short := h
				short.Body = h.Body[:n]
				if p.Parse(short) == nil {
					t.Fatalf("%d of %d bytes pass", n, len(h.Body))
				}
			}
		}
	})
}

func TestProduceRequestRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		body    string
		reason  string
	}{
		{"version 2", 2, "", "3 to 11 are"},
		{"version 12", 12, "", "3 to 11 are"},
		{"2^31 topics", 3, "\xff\xff\xff\xff\x00\x00\x00\x00\x7f\xff\xff\xff", "an array of 2147483647"},
		{"2^32 topics", 9, "\x00\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\x0f", "an array of 4294967294"},
		{"2^31 partitions", 3, "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01t\x7f\xff\xff\xff", "an array of 2147483647"},
		{"records beyond the end", 3, "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05abcd", "5 bytes are needed, 4 are left"},
		{"topic null", 3, "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\x00\x00\x00\x00", "topic name null"},
		{"2^32 tags", 9, "\x00\xff\xff\x00\x00\x00\x00\x01\xff\xff\xff\xff\x0f", "4294967295 tags"},
		{"trailing", 9, "\x00\xff\xff\x00\x00\x00\x00\x01\x00!", "1 bytes after the end"},
		{"too many topics", 9, "\x00\xff\xff\x00\x00\x00\x00\x82\x80\x08" + strings.Repeat("\x01\x01\x00", MaxElements+1) + "\x00", "131073 topics"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p ProduceRequest
			err := p.Parse(Header{Key: KeyProduce, Version: c.version, Body: []byte(c.body)})
			var be *BoundError
			var ve *VersionError
			if !errors.As(err, &be) && !errors.As(err, &ve) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("error %v, want %q", err, c.reason)
			}
			if _, _, _, ok := p.Next(); ok {
				t.Error("Next returns something after a failure")
			}
		})
	}
}

func onePartition(version int16) Header {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks = version, -1
	r.Topics = []kmsg.ProduceRequestTopic{{Topic: "topic", Partitions: []kmsg.ProduceRequestTopicPartition{
		{Partition: 3, Records: seal(batchOf(strings.Repeat("x", 1000)))}}}}
	return Header{Key: KeyProduce, Version: version, Correlation: 9, Body: r.AppendTo(nil)}
}

func TestProduceDoesNotAllocate(t *testing.T) {
	produceVersions(t, func(t *testing.T, version int16) {
		h := onePartition(version)
		buf := make([]byte, 0, 512)
		endpoints := []Endpoint{{1, "host", 9092, "a"}}
		if n := testing.AllocsPerRun(100, func() {
			var p ProduceRequest
			if err := p.Parse(h); err != nil {
				t.Fatal(err)
			}
			var e ProduceResponse
			e.Begin(buf, h, p.Topics)
			for topic, partition, records, ok := p.Next(); ok; topic, partition, records, ok = p.Next() {
				i, err := ParseBatch(records)
				if err != nil {
					t.Fatal(err)
				}
				PatchBatch(records, 100, 1)
				e.Topic(topic, 1)
				e.Partition(ProducePartition{Partition: partition, Base: i.Base, AppendTime: -1, Code: CodeNotLeader, LeaderID: 1})
			}
			buf = e.End(0, endpoints, nil)[:0]
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestProduceResponseAgreesWithKmsg(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	produceVersions(t, func(t *testing.T, version int16) {
		for range 300 {
			h := Header{Key: KeyProduce, Version: version, Correlation: int32(rng.Uint32())}
			want := kmsg.NewPtrProduceResponse()
			want.ThrottleMillis = int32(rng.Uint32())
			topics := rng.IntN(4)
			var e ProduceResponse
			e.Begin([]byte("before"), h, topics)
			for range topics {
				name, n := randomString(rng), rng.IntN(3)
				wt := kmsg.NewProduceResponseTopic()
				wt.Topic = name
				e.Topic([]byte(name), n)
				for range n {
					p := randomPartition(rng)
					e.Partition(p)
					wt.Partitions = append(wt.Partitions, kmsgPartition(p, version))
				}
				want.Topics = append(want.Topics, wt)
			}
			var endpoints []Endpoint
			for range rng.IntN(3) {
				endpoints = append(endpoints, Endpoint{int32(rng.Uint32()), randomString(rng), int32(rng.Uint32()), randomString(rng)})
			}
			if version >= produceHintsFrom {
				for _, n := range endpoints {
					b := kmsg.NewProduceResponseBroker()
					b.NodeID, b.Host, b.Port = n.Node, n.Host, n.Port
					if n.Rack != "" {
						b.Rack = &n.Rack
					}
					want.Brokers = append(want.Brokers, b)
				}
			}
			got := e.End(want.ThrottleMillis, endpoints, nil)
			if w := AppendResponse([]byte("before"), h, want); !bytes.Equal(got, w) {
				t.Fatalf("%+v\ngot  %x\nwant %x", want, got, w)
			}
		}
	})
}

func randomPartition(rng *rand.Rand) ProducePartition {
	p := ProducePartition{Partition: int32(rng.Uint32()), Base: int64(rng.Uint64()), AppendTime: int64(rng.Uint64()),
		LogStart: int64(rng.Uint64()), LeaderID: rng.Int32N(3) - 1, LeaderEpoch: rng.Int32N(1e9)}
	p.Code = []int16{0, CodeNotLeader, CodeCorruptMessage}[rng.IntN(3)]
	if p.Code != 0 {
		p.Message = randomString(rng)
	}
	return p
}

func kmsgPartition(p ProducePartition, version int16) kmsg.ProduceResponseTopicPartition {
	w := kmsg.NewProduceResponseTopicPartition()
	w.Partition, w.ErrorCode, w.BaseOffset, w.LogAppendTime, w.LogStartOffset = p.Partition, p.Code, p.Base, p.AppendTime, p.LogStart
	if p.Message != "" {
		w.ErrorMessage = &p.Message
	}
	if version >= 10 && p.Code == 6 && p.LeaderID >= 0 {
		w.CurrentLeader.LeaderID, w.CurrentLeader.LeaderEpoch = p.LeaderID, p.LeaderEpoch
	}
	return w
}

func TestProduceResponseCountsWhatIsAnnounced(t *testing.T) {
	h := Header{Key: KeyProduce, Version: 9}
	for name, f := range map[string]func(e *ProduceResponse){
		"topic too many":       func(e *ProduceResponse) { e.Topic(nil, 0); e.Topic(nil, 0) },
		"topic missing":        func(e *ProduceResponse) { e.End(0, nil, nil) },
		"partition too many":   func(e *ProduceResponse) { e.Topic(nil, 0); e.Partition(ProducePartition{}) },
		"partition missing":    func(e *ProduceResponse) { e.Topic(nil, 1); e.End(0, nil, nil) },
		"version not produced": func(e *ProduceResponse) { e.Begin(nil, Header{Key: KeyProduce, Version: 2}, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			var e ProduceResponse
			e.Begin(nil, h, 1)
			f(&e)
		})
	}
}

func BenchmarkProduceParse(b *testing.B) {
	h := onePartition(9)
	b.ReportAllocs()
	for range b.N {
		var p ProduceRequest
		if err := p.Parse(h); err != nil {
			b.Fatal(err)
		}
		if _, _, _, ok := p.Next(); !ok {
			b.Fatal("nothing")
		}
	}
}

func BenchmarkProduceResponse(b *testing.B) {
	h, name := onePartition(9), []byte("topic")
	var buf []byte
	b.ReportAllocs()
	for range b.N {
		var e ProduceResponse
		e.Begin(buf[:0], h, 1)
		e.Topic(name, 1)
		e.Partition(ProducePartition{Partition: 3, Base: 5, AppendTime: -1})
		buf = e.End(0, nil, nil)
	}
}
